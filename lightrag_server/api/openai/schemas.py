"""Requests and responses as OpenAI's clients know them. What is not listed here is accepted and has no effect."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from lightrag_server.api.filters import DocumentsFilter
from lightrag_server.api.lightrag.schemas import Keyword, ReferenceItem, ReferenceSpan

MAX_INPUTS = 2048
MAX_INPUT_CHARS = 131_072
MAX_STOPS = 4
MAX_MESSAGES = 2048

CHAT_EXAMPLES: list[Any] = [
    {"model": "lightrag", "messages": [{"role": "user", "content": "Who was Jacob Marley?"}]},
    {
        "model": "lightrag:hybrid",
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "Who was Jacob Marley?"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "lightrag": {"chunk_top_k": 10},
    },
]
EMBEDDING_EXAMPLES: list[Any] = [{"model": "embedding", "input": ["Marley was dead", "to begin with"]}]

# ----------------------------------------------------------------------------- chat


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class TextPart(_Open):
    type: Literal["text"]
    text: str


class ImageAddress(_Open):
    url: str = Field(description="A data URL with base64. Nothing is fetched from elsewhere.")


class ImagePart(_Open):
    type: Literal["image_url"]
    image_url: ImageAddress


class RefusalPart(_Open):
    type: Literal["refusal"]
    refusal: str


Part = Annotated[TextPart | ImagePart | RefusalPart, Field(discriminator="type")]


class ChatMessage(_Open):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None


class StreamOptions(_Open):
    include_usage: bool | None = Field(None, description="A last chunk with the usage and without choices.")


class Steering(BaseModel):
    """How evidence is looked for; names and meaning are those of `POST /query`. Unset: the settings."""

    model_config = ConfigDict(extra="forbid")

    top_k: int | None = Field(None, ge=1, le=1000)
    chunk_top_k: int | None = Field(None, ge=1, le=1000)
    max_total_tokens: int | None = Field(None, ge=1, le=1_000_000)
    response_type: str | None = Field(None, min_length=1, max_length=256)
    hl_keywords: list[Keyword] = Field(default_factory=list[str], max_length=64)
    ll_keywords: list[Keyword] = Field(default_factory=list[str], max_length=64)
    filters: DocumentsFilter | None = None


Stop = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class ChatCompletionRequest(_Open):
    """The last user message is the question, earlier messages are its history, system messages further instructions."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": CHAT_EXAMPLES})

    model: str = Field(max_length=256, description="One of GET /v1/models: it chooses mode and workspace.")
    messages: list[ChatMessage] = Field(min_length=1, max_length=MAX_MESSAGES)
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1, description="Wins over max_tokens.")
    n: Literal[1] | None = 1
    user: str | None = None
    lightrag: Steering | None = None


class CompletionUsage(BaseModel):
    """Of all calls of this answer; estimated where the model's host does not tell or no model wrote."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: float | None = Field(None, description="Where the model has a price (MODEL_PRICES).")


class UrlCitation(BaseModel):
    """Where in the answer a source is cited, in characters, and the address of the document in this server. `spans`
    is the sentence of the document that says so, where one was found."""

    start_index: int
    end_index: int
    title: str
    url: str
    spans: list[ReferenceSpan] | None = None


class Annotation(BaseModel):
    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]


FinishReason = Literal["stop", "length"]


class Choice(BaseModel):
    index: Literal[0] = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    """`references` are those of `POST /query`: each source with its number in the text and its places."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    references: list[ReferenceItem]


# ----------------------------------------------------------------------------- models


class ModelItem(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelItem]


# ----------------------------------------------------------------------------- embeddings


Input = Annotated[str, StringConstraints(min_length=1, max_length=MAX_INPUT_CHARS)]


class EmbeddingsRequest(_Open):
    """Vectors of the server's own embedding model, whatever model is named."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": EMBEDDING_EXAMPLES})

    model: str = Field(max_length=256, description="Reported back; the configured embedding model answers.")
    input: Input | Annotated[list[Input], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="Only the model's own length.")
    input_type: Literal["query", "document"] = Field(
        "document", description="Some models embed questions and passages differently."
    )

    @field_validator("input", mode="before")
    @classmethod
    def _no_tokens(cls, given: Any) -> Any:
        if isinstance(given, list) and any(isinstance(item, int | list) for item in cast(list[Any], given)):
            raise ValueError("token ids are of another model's tokenizer: send the text")
        return given


class Embedding(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
