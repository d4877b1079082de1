"""What the system log must not contain."""

import pytest

from rocks.inventory.attributes.secret_names import is_secret, without_secrets


@pytest.mark.parametrize(
    "name",
    ["password", "root_pw", "ipmi-password", "Kickstart_PrivateRootPassword", "vm_fence_command", "api.token"]
    + ["vm_fence_command_old", "root_pw_old"]
    + [
        "snmp_community",
        "ssh_private_key",
        "rootpw",
        "my_secret",
        "passphrase",
        "snmp_key",
        "kickstart_cryptedpw",
        "apikey",
        "db_pwd",
        "PwdOfDatabase",
        "ldap_bind_passwd_1",
        "api_tokens",
        "clientsecret2",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["managed", "kvm", "ssh_port", "cpus", "keyboard", "ib_pkeys", "ssh_public_key", "ib_pkey_pool"]
)
def test_other_names(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("line", "logged"),
    [
        ("set host attr|h|ipmi_password|geheim", "h ipmi_password ***"),
        ("set host attr|ipmi_password|geheim", "ipmi_password ***"),
        ("add attr|root_pw|geheim", "root_pw ***"),
        ("set host attr|h|attr=root_pw|geheim", "h attr=root_pw ***"),
        ("set host attr|h|value=geheim|managed", "h value=*** managed"),
        ("set host attr|h|managed|true", "h managed true"),
        ("set host attr|h|vm_fence_command|off -p geheim", "h vm_fence_command ***"),
        ("set host sec_attr|h|x|geheim", "h x ***"),
        ("set sec_attr|x|geheim", "x ***"),
        ("set sec_attr|x", "x"),
        ("set attr|vm_authorized_keys|-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "vm_authorized_keys ***"),
        ("add cluster|vc1|note=-----BEGIN|OPENSSH|PRIVATE", "vc1 note=*** *** ***"),
        ("set host sec_attr|h|x", "h x"),
        ("remove host attr|h|root_pw", "h root_pw"),
        ("list host|password=geheim", "password=***"),
        ("add appliance attr|compute|root_pw|a=geheim b", "compute root_pw ***"),
        ("set host attr|h|ipmi_password|my|geheim", "h ipmi_password *** ***"),
        ("set host attr|h|ipmi_password|user=a,pw=geheim|b", "h ipmi_password *** ***"),
        ("set host attr|h|i|snmp_key|geheim", "h i snmp_key ***"),
        ("set host attr|h|my|geheim|attr=root_pw", "h *** *** ***"),
        ("set host sec_attr|h|x|my|geheim", "h x *** ***"),
        ("set host sec_attr|h|attr=x|geheim", "h attr=x ***"),
        ("set sec_attr|attr=x|geheim", "attr=x ***"),
        ("set host sec_attr|h|attr=x", "h attr=x"),
        ("set attr|my.password=geheim", "***"),
        ("set attr|root_pw:geheim", "***"),
        ("set host attr|h|password geheim", "h ***"),
        ("set host sec_attr|h|x|file=/root/secret", "h x file=/root/secret"),
        ("set host vm|h|note=user=a,pw=geheim=x  b", "h note=user=a,pw=***  b"),
        (
            "set host bootflags|h|flags=quiet inst.vncpassword=geheim ro",
            "h flags=quiet inst.vncpassword=*** ro",
        ),
    ],
)
def test_values_of_secrets_are_stars(line: str, logged: str) -> None:
    """Wherever the value stands, and also when it was typed without quotes."""
    parts = line.split("|")
    assert " ".join(without_secrets(parts[0].split(), parts[1:])) == logged
