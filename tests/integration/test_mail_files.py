"""Mails in a directory, where no server is named."""

import stat
from email.headerregistry import Address

from actors.back_office.mailbox import FileChannel, file_name
from tests.unit.actors.back_office.test_channels import outgoing, parsed


async def test_a_file_is_a_mail_that_nobody_else_may_read(tmp_path) -> None:
    channel = FileChannel(tmp_path / "mail", Address("", addr_spec="tickets@localhost"))
    key = "order_confirmation:bk_1/../../etc:email"
    assert await channel.send(outgoing(key=key)) == "file"
    assert await channel.send(outgoing(key=key)) == "file"
    (path,) = (tmp_path / "mail").iterdir()
    assert path.name == f"{file_name(key)}.eml"
    assert path.name.startswith("order_confirmation_bk_1_etc_email-")
    assert parsed(path.read_bytes())["To"] == "ann@example.org"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
