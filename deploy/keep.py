"""Back up a team's databases and bucket, and restore them: `python keep.py backup FOLDER`, `... restore FOLDER`.

PGHOST, PGPORT, PGUSER and PGPASSWORD say where PostgreSQL is, AWS_ENDPOINT_URL and the AWS keys where the store is, and
BUCKET what the bucket is called. A backup may be made beside working servers: nothing changes a file of the bucket, and
the files are copied after what names them was dumped. Restoring replaces the databases, whose servers must be stopped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3

DATABASES = ("mlflow", "prefect")
FILES = "bucket"


def main(command: str, folder: Path) -> None:
    """Do one or the other; SystemExit with a line where it cannot be done."""
    if command == "backup":
        backup(folder)
    elif command == "restore":
        restore(folder)
    else:
        raise SystemExit(f"{command}: expected backup or restore")


def backup(folder: Path) -> None:
    """Write a new folder: a dump of each database and the files of the bucket; whole or not under its name."""
    if folder.exists():
        raise SystemExit(f"{folder} is there already: name a new folder")
    part = folder.with_name(f"{folder.name}.part")
    try:
        part.mkdir(parents=True)
    except FileExistsError:
        raise SystemExit(f"{part} is there: another backup is writing it, or was killed; then remove it") from None
    try:
        _write(part)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write(part: Path) -> None:
    for name in DATABASES:
        _run("pg_dump", "--format", "custom", "--file", str(part / f"{name}.dump"), name)
    store, bucket = boto3.client("s3"), os.environ["BUCKET"]
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for each in page.get("Contents", ()):
            target = part / FILES / each["Key"]
            if not target.resolve().is_relative_to((part / FILES).resolve()):
                raise SystemExit(f"{each['Key']!r} in the bucket leads out of the backup")
            target.parent.mkdir(parents=True, exist_ok=True)
            store.download_file(bucket, each["Key"], str(target))


def restore(folder: Path) -> None:
    """Make databases and bucket what they were; files that came later stay in the bucket, where nothing names them."""
    dumps = [folder / f"{name}.dump" for name in DATABASES]
    if missing := [str(dump) for dump in dumps if not dump.is_file()]:
        raise SystemExit(f"{folder} is no backup: {', '.join(missing)} is missing")
    store, bucket = boto3.client("s3"), os.environ["BUCKET"]
    if bucket not in {each["Name"] for each in store.list_buckets()["Buckets"]}:
        store.create_bucket(Bucket=bucket)
    for path in sorted((folder / FILES).rglob("*")):
        if path.is_file():
            store.upload_file(str(path), bucket, path.relative_to(folder / FILES).as_posix())
    for name, dump in zip(DATABASES, dumps, strict=True):
        # All of it or nothing.
        _run("pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", "--dbname", name, str(dump))


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]))
