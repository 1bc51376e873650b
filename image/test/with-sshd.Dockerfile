# The gateway's image with openssh-server in place of bastion, to compare sizes: the same base, the
# same OpenClaw, and the packages that are named.
ARG GATEWAY
FROM ${GATEWAY} AS gateway
FROM node:24-slim
ARG PACKAGES
RUN apt-get update && \
    apt-get install -y ${PACKAGES} && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1001 --user-group --create-home --home-dir /claw --shell /bin/bash claw && \
    install -d -o claw -g claw /claw/.openclaw /claw/workspace && \
    install -d /run/sshd /var/lib/pomerium && \
    echo 'TrustedUserCAKeys /var/lib/pomerium/pomerium_user_ca_key.pub' >>/etc/ssh/sshd_config
COPY --from=gateway /usr/local/lib/node_modules/openclaw /usr/local/lib/node_modules/openclaw
COPY --from=gateway /usr/local/bin/entrypoint.sh /usr/local/bin/
RUN ln -s ../lib/node_modules/openclaw/openclaw.mjs /usr/local/bin/openclaw
