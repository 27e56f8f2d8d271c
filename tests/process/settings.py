"""Settings of the outer loop by what reads them: a key that means nothing to the method is refused."""
EXCHANGE = {"codec", "block", "k", "rotate", "rounding", "error_feedback", "decay", "leg"}
STEPS = {"sync_every", "lr", "momentum", "final_sync"}
FRAGMENTS = {"fragments", "layout", "embeddings_codec"}
STREAMING = {"overlap", "alpha"}
UNREAD = {"none": EXCHANGE | STEPS | FRAGMENTS | STREAMING, "ddp": STEPS | FRAGMENTS | STREAMING,
          "diloco": FRAGMENTS | STREAMING, "streaming_diloco": set(), "eager_diloco": STREAMING}


def meant(settings):
    """Those of `settings`, "section.key" -> value, that the method in them reads."""
    unread = UNREAD[str(settings.get("outer.method", "streaming_diloco")).strip('"')]
    return {key: value for key, value in settings.items()
            if not (key.startswith("outer.") and key.removeprefix("outer.") in unread)}
