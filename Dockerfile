# The service without what only its start from a checkout and its tests need: no embedded PostgreSQL, no npm, no compiler.
# Both bases are Debian images with the same Node 24; the build needs python3, make and g++ beside it.
ARG BUILD_BASE=node:24-bookworm
ARG BASE=node:24-bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /chancery
COPY package.json package-lock.json .npmrc ./
COPY scripts ./scripts
RUN npm ci --ignore-scripts --omit=dev --omit=optional --no-audit --no-fund && npm run --silent postinstall
COPY src ./src
COPY migrations ./migrations
COPY LICENSE ./

FROM ${BASE}
WORKDIR /chancery
COPY --from=build /chancery /chancery
# The data directory is a volume of this user's; the PKCS#11 module and its configuration are mounted, or installed in an image on top of this one.
USER 65532:65532
ENV CHANCERY_DATA_DIR=/data
VOLUME /data
EXPOSE 9443 9080 9090
ENTRYPOINT ["node", "--disallow-code-generation-from-strings", "--disable-proto=throw", "src/main.ts"]
CMD ["serve"]
