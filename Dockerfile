# Weft as one static binary, from nothing.
FROM golang:1.26 AS build
ARG VERSION=v0.1.0
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /weft .

FROM scratch
LABEL org.opencontainers.image.source=https://github.com/weft-mesh/weft \
      org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /weft /weft
USER 65532:65532
ENTRYPOINT ["/weft"]
