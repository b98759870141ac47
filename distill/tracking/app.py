"""MLflow's server behind the project's token; `mlflow server --app-name distill` serves it."""

import os

from mlflow.server.fastapi_app import app as mlflow_app

from distill.servers.token_guard import Guard
from distill.tracking.address import PAGE_PORT, PAGE_TOKEN

app = Guard(mlflow_app, os.environ[PAGE_TOKEN], int(os.environ[PAGE_PORT]))
