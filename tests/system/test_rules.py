"""promtool finds nothing wrong with the rules, and they fire when they should."""

from tests.system.programs import output, program
from tests.system.prometheus import SHIPPED


def test_the_configuration_and_its_rules_are_sound() -> None:
    promtool = program("promtool")
    output(promtool, "check", "config", str(SHIPPED / "prometheus.yml"))
    output(promtool, "check", "rules", "--lint-fatal", *map(str, SHIPPED.glob("rules/*.yml")))


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    output(program("promtool"), "test", "rules", str(SHIPPED / "tests" / "alerts.yml"))
