"""Registers `twistd tandemd`. Each twistd on the machine imports this module, so it imports no module of tandemd."""

from twisted.application.service import ServiceMaker

tandemd = ServiceMaker("tandemd", "tandemd.tap", "A watch-party server.", "tandemd")
