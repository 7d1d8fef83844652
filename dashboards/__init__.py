"""Grafana's dashboards as code; `make dashboards` writes them to docker/grafana."""
