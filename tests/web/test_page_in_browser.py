from tests.support.browser import BrowserTestCase


class XTests(BrowserTestCase):
    def test_x(self) -> None:
        host, guest = self.party()
        print(host.sent.of("JOIN"))
