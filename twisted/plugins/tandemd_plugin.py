"""Tells twistd of the daemon. Every twistd on the machine imports this, so it imports nothing of ours."""

from twisted.application.service import ServiceMaker

tandemd = ServiceMaker("tandemd", "tandemd.tap", "A watch-party server.", "tandemd")
