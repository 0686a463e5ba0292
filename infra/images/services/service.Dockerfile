ARG BASE
FROM ${BASE}
ARG SERVICE
ARG UID_GID
COPY . /srv/services/
RUN install -d -o ${UID_GID%:*} -g ${UID_GID#*:} /meili_data
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/srv LAB_SERVICE=${SERVICE}
USER ${UID_GID}
ENTRYPOINT ["sh", "-c", "exec python3 -m services.$LAB_SERVICE \"$@\"", "service"]
