"""`make image-test`: builds the Dockerfile and runs compose.yaml's services from it, without Docker and a registry.

Podman runs the containers. The images that compose.yaml names, but that are not ours, are made of Debian's packages
(standins/). Compose itself reads compose.yaml (`docker-compose config`), so what is started is what it says.
"""
