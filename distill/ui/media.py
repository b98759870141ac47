"""Serving the sounds and pictures that the page links to, and nothing else."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response

from distill.audio.sound import EXTENSIONS, SoundError, read_sound, wav_bytes
from distill.ui.context import MEDIA, Context

PICTURES = {".png": "image/png"}
# What browsers play themselves; anything else is sent as WAV.
PLAYED = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}
# What is only saved.
SAVED = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".distill": "application/octet-stream",
    ".zip": "application/zip",
}
PAGES = {".html": "text/html"}
# A page of ours that stands in a frame of the page has its players, and no scripts.
FRAMED = {
    "content-security-policy": "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
}


def add_media(app: FastAPI, context: Context) -> None:
    """Add the route of `Context.link` to an application."""

    @app.get(f"{MEDIA}/{{signature}}/{{name:path}}", include_in_schema=False)
    def media(signature: str, name: str) -> Response:
        path = Path("/") / name
        if not context.is_linked(path, signature) or not path.is_file():
            return PlainTextResponse("there is no such file\n", 404)
        suffix = path.suffix.lower()
        if suffix in PAGES:
            return FileResponse(path, media_type=PAGES[suffix], headers=FRAMED)
        if suffix in PICTURES or suffix in PLAYED:
            return FileResponse(path, media_type={**PICTURES, **PLAYED}[suffix], headers={"cache-control": "no-cache"})
        if suffix in SAVED:
            return FileResponse(path, media_type=SAVED[suffix], headers={"content-disposition": "attachment"})
        if suffix not in EXTENSIONS:
            return PlainTextResponse("this is neither a sound nor a picture\n", 415)
        try:
            sound = read_sound(path)
            return Response(wav_bytes(sound.samples, sound.sample_rate), media_type="audio/wav")
        except SoundError as error:
            return PlainTextResponse(f"{error}\n", 415)
