# The page and every command in a container, as a user without rights. FAISS comes for one of the two alone, so the image
# for GPUs serves and trains, and has no page.
#   CPU:  docker build -t surgvl .
#   GPU:  docker build -t surgvl-gpu --build-arg EXTRAS=train,eval,gpu .
FROM python:3.11-slim

ARG EXTRAS=all

# Triton, which torch and vLLM use on GPUs, compiles at run time.
RUN case ",$EXTRAS," in *,gpu,*) apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* ;; esac

RUN useradd --create-home --uid 1000 surgvl && mkdir /data && chown surgvl:surgvl /data
WORKDIR /opt/surgvl

# Dependencies in a layer of their own, which a change of the code leaves alone.
COPY pyproject.toml constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt uv \
    && uv pip install --system --no-cache --constraint constraints.txt --requirement pyproject.toml \
       $(printf -- '--extra %s ' $(echo "$EXTRAS" | tr ',' ' '))

COPY README.md LICENSE ./
COPY prompts prompts
COPY retrieval retrieval
COPY demo demo
COPY surgvl surgvl
RUN uv pip install --system --no-cache --no-deps .

USER surgvl
WORKDIR /data
EXPOSE 7860
ENTRYPOINT ["surgvl"]
CMD ["demo", "--host", "0.0.0.0"]
