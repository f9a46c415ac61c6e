"""The one reader of the environment: every setting of every service, checked once, frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.store.errors import UsageError


class Settings(BaseSettings):
    """What the environment says; a field's name in capitals is the variable's name."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    redis_url: str | None = Field(default=None, description="Redis connection string; required by the recorder")
    database_url: str | None = Field(
        default=None, description="PostgreSQL connection string; bouy sets it where it runs a PostgreSQL"
    )
    output_dir: Path = Field(default=Path("outputs"), description="where recordings are written")
    archive_dir: Path = Field(default=Path("archives"), description="where archived days are kept")
    backup_dir: Path = Field(default=Path("backups"), description="where backups go if no other place is named")
    sql_dump_dir: Path = Field(default=Path("sql_dumps"), description="where SQL dumps are kept")
    sql_dump_min_records: int = Field(default=100, ge=0, description="fewest rows of a database that is dumped")
    sql_dump_ratchet_percentage: float = Field(
        default=0.9, ge=0, le=1, description="share of the most rows ever dumped that a database must have"
    )
    sql_dump_keep: int = Field(default=7, ge=1, description="SQL dumps that are kept, the newest")
    allow_empty_sql_dump: bool = Field(default=False, description="dump whatever is in the database")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level logged")
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="json, console, or auto: console on a terminal, json elsewhere"
    )
    recorder_batch_size: int = Field(default=100, ge=1, le=1000, description="most jobs taken at once")
    recorder_max_payload_mb: int = Field(
        default=256, ge=1, le=2048, description="largest unpacked payload in MiB; a larger one goes to quarantine"
    )
    recorder_min_free_mb: int = Field(
        default=200, ge=0, description="MiB of OUTPUT_DIR's disk to keep free; with less it takes no jobs"
    )
    recorder_result_ttl: int = Field(
        default=3600,
        ge=-1,
        description="seconds that a recorded job stays known in Redis if its producer doesn't say; -1: for ever",
    )
    recorder_metrics_port: int = Field(
        default=9108, ge=0, le=65535, description="port of /metrics, /livez and /readyz, or the next free one; 0: none"
    )
    recorder_metrics_host: str = Field(default="127.0.0.1", description="address that they are served at")
    prometheus_multiproc_dir: Path | None = Field(
        default=None, description="folder in which stock RQ workers that run record_result count together"
    )
    recorder_allowed_callbacks: str = Field(
        default="", description="comma-separated dotted names of RQ callbacks and webhook URLs that jobs may use"
    )


def load_settings() -> Settings:
    """Read the environment, or raise `UsageError` naming each variable that can't be used."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"{str(e['loc'][0]).upper()} is {e['input']!r}: {e['msg'][0].lower()}{e['msg'][1:]}" for e in error.errors()
        )
        raise UsageError(f"unusable setting: {problems}", hint="correct it in the environment") from None


def require_redis_url(settings: Settings) -> str:
    """The Redis URL, or a `UsageError` that says how to set it."""
    if settings.redis_url is None:
        raise UsageError("REDIS_URL is not set", hint="for example REDIS_URL=redis://127.0.0.1:6379/0")
    return settings.redis_url


def require_database_url(settings: Settings) -> str:
    """The database's URL, or a `UsageError` that says how to set it."""
    if settings.database_url is None:
        raise UsageError(
            "DATABASE_URL is not set", hint="for example postgresql://user:password@127.0.0.1:5432/pantry_pirate_radio"
        )
    return settings.database_url
