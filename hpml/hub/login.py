"""Who may log in to a hub for a try-out: the people in the class folder's `logins.json`, each with a password of their own."""

from __future__ import annotations

import hmac
from typing import Any

from jupyterhub.auth import Authenticator
from traitlets import Dict


class ClassAuthenticator(Authenticator):
    """Names and passwords from a file that only the hub's account can read. For a machine of one's own, not for the world."""

    passwords = Dict(help="name → password", config=True)

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        known = self.passwords.get(data["username"], "")
        right = hmac.compare_digest(known.encode(), data["password"].encode())
        return data["username"] if known and right else None
