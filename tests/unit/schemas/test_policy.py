from pathlib import Path

from schemas import errors
from schemas.policy import policy_table

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


def test_the_page_on_errors_holds_the_table_that_the_types_make() -> None:
    page = PAGE.read_text("utf-8")
    table = page.partition("<!-- python -m schemas.policy -->\n")[2].partition("<!-- end -->")[0]
    assert table == policy_table(), "put what `python -m schemas.policy` prints into docs/errors.md"


def test_every_category_is_in_it() -> None:
    categories = {line.split(" | ")[0].lstrip("| ") for line in policy_table().splitlines()[2:]}
    assert categories == set(errors.Category.__args__)


def test_only_an_error_that_passes_says_so_to_the_client() -> None:
    assert errors.EngineCrashed("it died").to_info().retryable
    assert not errors.Cancelled("gone").to_info().retryable
