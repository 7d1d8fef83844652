"""Order among versions (semver.org 2.0.0, precedence), and the parts that names are made of."""

from functools import lru_cache

from semver import Version

from schemas.records import AdapterVersion

KEY_SEPARATOR = "@"


@lru_cache(maxsize=4096)
def parse(version: str) -> Version:
    """The semantic version; raises ValueError where it is none, or one with a build part.

    Build parts are no part of precedence: two versions that differ only there have no order.
    """
    parsed = Version.parse(version)
    if parsed.build is not None:
        raise ValueError(f"{version} has a build part, +{parsed.build}")
    return parsed


def split_key(key: str) -> tuple[str, str]:
    """The id and version of ``id@version``; the version is empty where there is none."""
    adapter_id, _, version = key.partition(KEY_SEPARATOR)
    return adapter_id, version


def variant_name(version: AdapterVersion, *, is_exact: bool = False) -> str:
    """What a version's arm of a split is called: ``v1``, or ``v1@1.2.0`` where that tells less."""
    name = f"v{parse(version.adapter_version).major}"
    return f"{name}{KEY_SEPARATOR}{version.adapter_version}" if is_exact else name
