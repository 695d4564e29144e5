"""What Ollama's clients send and read. Fields without effect here are taken all the same, so that nobody is refused."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints

MAX_MODEL_CHARS = 256
MAX_PROMPT_CHARS = 65_536
MAX_SYSTEM_CHARS = 32_768
MAX_CONTENT_CHARS = 32_768
MAX_MESSAGES = 128
MAX_IMAGES = 16
MAX_INPUTS = 2048
MAX_STOPS = 16
MAX_STOP_CHARS = 256

NO_EFFECT = "Taken for Ollama's clients; without effect."
ModelName = Annotated[str, StringConstraints(max_length=MAX_MODEL_CHARS)]
EmbeddedText = Annotated[str, StringConstraints(max_length=MAX_PROMPT_CHARS)]
StopText = Annotated[str, StringConstraints(max_length=MAX_STOP_CHARS)]
Images = Annotated[
    list[str], Field(max_length=MAX_IMAGES, description="PNG, JPEG, GIF or WebP as base64; needs VLM_LLM_MODEL.")
]


class Options(BaseModel):
    """How the answer is written; other options of Ollama are without effect."""

    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    num_predict: int | None = Field(None, description="Most tokens of the answer; none or less means no limit.")
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = Field(
        None, description="Texts before which the answer ends."
    )


class _Written(BaseModel):
    """What requests for a text share."""

    model: ModelName = Field(description="Not checked: there is one model.", examples=["lightrag:latest"])
    system: str | None = Field(None, max_length=MAX_SYSTEM_CHARS, description="Instructions to the model alone.")
    options: Options | None = None
    format: Any = Field(None, description=NO_EFFECT)
    keep_alive: Any = Field(None, description=NO_EFFECT)
    think: Any = Field(None, description=NO_EFFECT)


class ChatMessage(BaseModel):
    role: str = Field(max_length=64, examples=["user"])
    content: str = Field("", max_length=MAX_CONTENT_CHARS, examples=["/mix Who was Jacob Marley?"])
    images: Images | None = None


class ChatBody(_Written):
    """`system` reaches the model where no documents are asked: `/bypass`, and tasks of chat front ends."""

    messages: list[ChatMessage] = Field(
        min_length=1, max_length=MAX_MESSAGES, description="The last one is the user's."
    )
    stream: bool | None = True
    tools: Any = Field(None, description=NO_EFFECT)


class GenerateBody(_Written):
    prompt: str = Field(max_length=MAX_PROMPT_CHARS, examples=["Write a haiku about rain."])
    images: Images | None = None
    stream: bool | None = False


class EmbedBody(BaseModel):
    model: ModelName = Field(description="Not checked: texts are embedded by the configured model.")
    input: EmbeddedText | Annotated[list[EmbeddedText], Field(max_length=MAX_INPUTS)]
    truncate: bool | None = Field(None, description=NO_EFFECT)
    dimensions: int | None = Field(None, description=NO_EFFECT)
    options: Any = Field(None, description=NO_EFFECT)
    keep_alive: Any = Field(None, description=NO_EFFECT)


class EmbeddingsBody(BaseModel):
    model: ModelName = Field(description="Not checked: texts are embedded by the configured model.")
    prompt: EmbeddedText
    options: Any = Field(None, description=NO_EFFECT)
    keep_alive: Any = Field(None, description=NO_EFFECT)


class ShowBody(BaseModel):
    """`name` is how older clients say `model`."""

    model: ModelName | None = None
    name: ModelName | None = None
    verbose: bool | None = Field(None, description=NO_EFFECT)


# ----------------------------------------------------------------------------- replies


class Version(BaseModel):
    version: str


class ModelDetails(BaseModel):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class ListedModel(BaseModel):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails


class ModelList(BaseModel):
    models: list[ListedModel]


class RunningModel(BaseModel):
    name: str
    model: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int


class RunningModels(BaseModel):
    models: list[RunningModel]


class ShownModel(BaseModel):
    modelfile: str
    parameters: str
    template: str
    details: ModelDetails
    model_info: dict[str, str | int]
    capabilities: list[str]
    modified_at: str


class _Counted(BaseModel):
    """Durations are nanoseconds; counts are the vendor's, else estimates."""

    model: str
    created_at: str
    done: bool
    done_reason: str
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int


class AnswerMessage(BaseModel):
    role: str
    content: str
    images: list[str] | None = None


class ChatReply(_Counted):
    message: AnswerMessage


class GenerateReply(_Counted):
    response: str
    context: list[int]


class EmbedReply(BaseModel):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingsReply(BaseModel):
    embedding: list[float]
