"""Defaults that help and pages name are those of the module of limits."""

import comet.cli.commands as comet_commands
from nucleus.limits import DEFAULT_TOKEN_DAYS
from owners.accounts.users import NewToken
from owners.portal.pages import STATIC


def test_the_days_of_a_token_are_the_same_for_everyone() -> None:
    page = STATIC / "tokens.html"
    assert f'id="days" name="days" type="number" value="{DEFAULT_TOKEN_DAYS}"' in page.read_text("utf-8")
    (text,) = [
        one.help for command in comet_commands.COMMANDS for one in command.options if "--days" in one.names
    ]
    assert f"(default: {DEFAULT_TOKEN_DAYS})" in text
    assert NewToken.model_fields["days"].default == DEFAULT_TOKEN_DAYS
