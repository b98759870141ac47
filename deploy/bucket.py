"""Make a bucket where it is missing: `python bucket.py NAME`, with the store's address and keys in the environment."""

import sys

import boto3
from botocore.exceptions import ClientError


def main(name: str) -> None:
    """Make the bucket, unless it is there."""
    try:
        boto3.client("s3").create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise


if __name__ == "__main__":
    main(sys.argv[1])
