"""Who may do what: users by their keys, the admin by a token."""

from hmac import compare_digest

from pydantic import SecretStr

from streams.gateway.access.keyring import Keyring
from streams.gateway.access.keys import Key
from streams.gateway.failures import AdminOff, Forbidden, Unauthenticated

_HOW = "send it as `Authorization: Bearer ...`"


class Access:
    """Knows callers by the bearer token that they send; without a keyring everybody is a user."""

    def __init__(self, admin_token: SecretStr | None, keyring: Keyring | None = None) -> None:
        self._admin = None if admin_token is None else admin_token.get_secret_value().encode()
        self._keyring = keyring

    def user(self, token: str | None) -> Key | None:
        """The user's key; None where nobody needs one. Raises: Unauthenticated, Forbidden."""
        if self._keyring is None:
            return None
        if token is None:
            raise Unauthenticated(f"A key is missing: {_HOW}.")
        if (key := self._keyring.find(token)) is not None:
            if key.revoked_at is not None:
                raise Unauthenticated(f"The key {key.id} was revoked.")
            return key
        if self._is_admin(token):
            raise Forbidden("The admin's token is for the registry; to ask takes a user's key.")
        raise Unauthenticated("That key is not known here.")

    def check_reader(self, token: str | None) -> None:
        """Whether the registry may be read: by users and the admin. Raises: Unauthenticated."""
        if token is None or not self._is_admin(token):
            self.user(token)

    def check_admin(self, token: str | None) -> None:
        """Raises: AdminOff where nobody can be admin, Unauthenticated, Forbidden."""
        if self._admin is None:
            raise AdminOff(
                "Nothing can be changed over HTTP here: start the gateway with "
                "LORELAY_ADMIN_TOKEN set, and send that as a bearer token."
            )
        if token is None:
            raise Unauthenticated(f"The admin's token is missing: {_HOW}.")
        if self._is_admin(token):
            return
        if self._keyring is not None and self._keyring.find(token) is not None:
            raise Forbidden("That takes the admin's token; this is a user's key.")
        raise Unauthenticated("That is not the admin's token.")

    def check_viewer(self, token: str | None) -> None:
        """Whether the dashboard may be looked at: by the admin.

        Where there is none it is as open as asking is. Raises: as `check_admin`.
        """
        if self._admin is not None:
            self.check_admin(token)
        elif self._keyring is not None:
            raise AdminOff(
                "Asking takes a key here, so looking takes the admin's token, and there is none: "
                "start the gateway with LORELAY_ADMIN_TOKEN set."
            )

    def _is_admin(self, token: str) -> bool:
        # Takes as long for a token that is nearly right as for any other one.
        return self._admin is not None and compare_digest(token.encode(), self._admin)
