"""Names in MLflow's registry: made by whoever comes first, and removed with the last of their versions."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient


def create_name(client: "MlflowClient", name: str, description: str) -> None:
    """Make sure that a name is in the registry; another machine may make it at the same time."""
    from mlflow.exceptions import MlflowException

    if any(known.name == name for known in pages(client.search_registered_models)):
        return
    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def delete_if_empty(client: "MlflowClient", name: str) -> None:
    """Remove a name that has no versions any more."""
    if not any(True for _ in pages(client.search_model_versions, filter_string=f"name = '{name}'")):
        client.delete_registered_model(name)


def pages(search: Any, **arguments: Any) -> Iterator[Any]:
    """Everything that one of MLflow's searches finds, which it gives in pages."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return
