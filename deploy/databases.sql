-- PostgreSQL runs this when it makes its data folder; the database of MLflow is there by then.
CREATE DATABASE prefect;
