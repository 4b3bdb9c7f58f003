"""Settings take the values of the configuration keys that have their names."""

from __future__ import annotations

import dataclasses

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from tandemd.app import settings
from tandemd.config import Config, Limits
from tandemd.messages import FEATURES
from tandemd.ratelimit.connections import ConnectionLimits
from tandemd.rooms.joining.limits import JoinLimits

CONVERSIONS = (
    settings.rule_settings_of,
    settings.drift_policy_of,
    settings.playback_sync_settings_of,
    settings.message_rates_of,
    settings.spending_rates_of,
    settings.connection_limits_of,
    settings.join_limits_of,
    settings.bounds_of,
    settings.protocol_settings_of,
    settings.redis_settings_of,
    settings.writer_settings_of,
)
NO_KEYS = {
    "mail_seconds", "offer_seconds", "settle_seconds", "steer_after", "steer_drift", "bounds", "send_queue", "drift_policy",
    "batch_commits", "stop_seconds", "queue_commits", "queue_bytes",
}  # fmt: skip
"""Fields that are no configuration keys."""


class Settings(SynchronousTestCase):
    def test_each_field_has_the_value_of_its_key(self) -> None:
        config = Config()
        sections = (config, config.rooms, config.limits, config.redis, config.archive, config.sync)
        for convert in CONVERSIONS:
            converted = convert(config)
            for field in msgspec.structs.fields(converted):
                values = [getattr(section, field.name) for section in sections if hasattr(section, field.name)]
                if field.name in NO_KEYS:
                    self.assertEqual(values, [], field.name)
                else:
                    self.assertEqual(values, [getattr(converted, field.name)], f"{convert.__name__}: {field.name}")

    def test_features_are_those_that_the_configuration_turns_on(self) -> None:
        config = Config()
        self.assertEqual(set(FEATURES) - set(settings.features_of(config)), {"auth"})
        auth = dataclasses.replace(config.auth, mode="token")
        self.assertEqual(settings.features_of(dataclasses.replace(config, auth=auth)), tuple(FEATURES))
        self.assertEqual(sorted(FEATURES), list(FEATURES))

    def test_clients_learn_the_limits_that_hold(self) -> None:
        config = Config(limits=Limits(enabled=False, chat_length=5))
        limits = settings.client_config_of(config).limits
        self.assertEqual((limits.chat_length, limits.members_per_room), (5, 1_000_000))

    def test_a_field_without_a_key_is_an_error(self) -> None:
        class Misnamed(msgspec.Struct):
            graze: float

        self.assertRaises(TypeError, settings.from_sections, Misnamed, Config().rooms)

    def test_without_limits(self) -> None:
        config = Config(limits=Limits(enabled=False))
        self.assertEqual(settings.connection_limits_of(config), ConnectionLimits())
        self.assertEqual(settings.join_limits_of(config), JoinLimits(0, 0, 0, 0, 0, 0, 0))
        self.assertEqual(settings.protocol_settings_of(config).join_timeout, 0)
        self.assertEqual(settings.rule_settings_of(config).members_per_address, 0)
        self.assertEqual(settings.rule_settings_of(config).chat_length, config.limits.chat_length)
        self.assertLessEqual(set(settings.NO_LIMITS), {field.name for field in dataclasses.fields(Limits)})
