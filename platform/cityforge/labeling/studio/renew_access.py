"""Run by Label Studio's own Python: gives our account the password and token of the variables.

Needed where a data folder is older than the credentials, and after `--reset-token`.
"""

from __future__ import annotations

import os


def renew() -> None:
    """Make the account where it is missing; its old token ends."""
    from label_studio import server  # type: ignore[import-not-found]

    server._setup_env()
    from organizations.models import Organization  # type: ignore[import-not-found]
    from rest_framework.authtoken.models import Token  # type: ignore[import-not-found]
    from users.models import User  # type: ignore[import-not-found]

    email, password = os.environ["LABEL_STUDIO_USERNAME"], os.environ["LABEL_STUDIO_PASSWORD"]
    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email=email, password=password)
    user.set_password(password)
    user.is_staff = user.is_superuser = user.is_active = True
    organization = Organization.objects.first() or Organization.create_organization(
        created_by=user, title="Label Studio", legacy_api_tokens_enabled=True
    )
    organization.add_user(user)
    organization.jwt.legacy_api_tokens_enabled = True
    organization.jwt.save()
    user.active_organization = organization
    user.save()
    Token.objects.filter(user=user).delete()
    Token.objects.create(user=user, key=os.environ["LABEL_STUDIO_USER_TOKEN"])


if __name__ == "__main__":
    renew()
