"""The loader of the Lua scripts."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tandemd.store.redis import scripts

LUA = Path(scripts.__file__).parent / "lua"


class ScriptsTest(SynchronousTestCase):
    def test_every_file_is_a_script(self) -> None:
        self.assertEqual({path.stem for path in LUA.glob("*.lua")}, {script.name for script in scripts.SCRIPTS})

    def test_every_shared_file_is_included(self) -> None:
        text = "".join(path.read_text() for path in LUA.glob("*.lua"))
        for path in LUA.glob("shared/*.lua"):
            self.assertIn(f"--@include {path.stem}\n", text)

    def test_no_directive_is_left(self) -> None:
        for script in scripts.SCRIPTS:
            self.assertNotIn("--@", script.text.decode())

    def test_parameters_have_names(self) -> None:
        text = scripts.COMMIT.text.decode()
        self.assertIn("local room_key, log_key, journal_key,", text)
        self.assertEqual(len(scripts.COMMIT.arguments), 19)
        self.assertIn(" = unpack(ARGV, 13, 19) local rest = 20\n", text)
        self.assertIn(" = unpack(KEYS, 1, 8) local rest_keys = 9\n", text)

    def test_arguments_are_in_the_order_of_the_file(self) -> None:
        arguments = {"only_absent": b"", **dict.fromkeys(scripts.RESEED.arguments, b"x")}
        arguments["epoch"] = b"7"
        self.assertEqual(scripts.RESEED.ordered(arguments)[1], b"7")

    def test_wrong_names(self) -> None:
        for named in ({}, {"second": b"1"}, {"seconds": b"1", "second": b"1"}):
            error = self.assertRaises(TypeError, scripts.TURN.ordered, named)
            self.assertIn("turn.lua takes seconds, not ", str(error))
        self.assertIn(
            "heads.lua takes no arguments", str(self.assertRaises(TypeError, scripts.HEADS.ordered, {"a": b""}))
        )
