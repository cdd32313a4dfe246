# SPDX-License-Identifier: Apache-2.0
"""Writes chat_reference.json: what transformers makes of chat templates, for ChatReferenceTest.

    python chat_reference.py                          the templates of templates/ and snippets.txt, into chat_reference.json
    python chat_reference.py --models DIR FILE.json   every template found below DIR (tokenizer_config.json, *.jinja)

The second needs the files of real models, which are not ours to keep here. It is compared with

    mvn -pl java/tributary-engine -am test -Dtest=ChatReferenceTest -Dtributary.chat.reference=FILE.json \
        -Dsurefire.failIfNoSpecifiedTests=false
"""

import argparse
import datetime
import json
from pathlib import Path
from typing import Any

import jinja2
import transformers
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent


class FixedTime(datetime.datetime):
    """What strftime_now reads."""

    @classmethod
    def now(cls, tz=None):
        return cls(2025, 1, 7, 18, 9, 3)


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def system(content):
    return {"role": "system", "content": content}


def call(name, arguments, call_id):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'Weather "now" in <a city> & around',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "such as Zürich"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 1e16, "default": 0.5},
                "extra": {
                    "type": "object",
                    "properties": {
                        "tags": {"type": "array", "items": {"type": ["string", "null"]}},
                        "limit": {"anyOf": [{"type": "number"}, {"type": "boolean"}]},
                    },
                },
            },
            "required": ["city"],
        },
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.\nTwo numbers",
        "parameters": {
            "type": "object",
            "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
            "required": ["x", "y"],
        },
    },
}
TOOLS: dict[str, Any] = {"none": None, "empty": [], "two": [WEATHER, ADD]}

CONVERSATIONS: dict[str, list[dict[str, Any]]] = {
    "one": [user("Hello, how are you?")],
    "system": [system("  Be brief.\n"), user("Hi")],
    "turns": [system("Be kind."), user("Hi"), assistant("Hello!"), user("A joke?"), assistant(" No. "), user("  Why?\n")],
    "answered": [user("Hi"), assistant("The answer is")],
    "unicode": [
        system("日本語で。"),
        user("naïve 😀\u00a0\u3000 \"q\" 'x' <b>&\\n</b>\t{{ x }} {% y %}"),
        assistant("👍🏽\u200d é"),
        user("ẞ ǆ ﬁ\u2028"),
    ],
    "empty": [system(""), user(""), assistant(""), user("x")],
    "order": [user("a"), user("b")],
    "later_system": [user("a"), system("in French"), user("b"), assistant("c"), user("d")],
    "thoughts": [user("2+2?"), assistant("<think>\nhm\n</think>\n\n4"), user("3+3?"), assistant("<think>well</think>6")],
    "reasoning": [user("2+2?"), {"role": "assistant", "reasoning_content": "let me\nthink", "content": "4"}],
    "tool": [
        system("Use tools."),
        user("Weather in Paris?"),
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                call("weather", {"city": "Paris", "unit": None, "days": 1.5e-7, "extra": {"tags": ["é", True], "m": {}}}, "abcdefghi")
            ],
        },
        {"role": "tool", "name": "weather", "tool_call_id": "abcdefghi", "content": '{"degrees": 22.0}'},
    ],
    "tools": [
        user("Both?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("weather", {"city": "Rome"}, "aaaaaaaaa"), call("add", {"x": 1, "y": -2}, "bbbbbbbbb")],
        },
        {"role": "tool", "name": "weather", "tool_call_id": "aaaaaaaaa", "content": "sun"},
        {"role": "tool", "name": "add", "tool_call_id": "bbbbbbbbb", "content": "-1"},
        assistant("Sun, and -1."),
        user("Thanks"),
    ],
    "parts": [
        system([{"type": "text", "text": "Look."}]),
        user([{"type": "text", "text": "This: "}, {"type": "image"}, {"type": "text", "text": "?"}]),
        assistant([{"type": "text", "text": "A cat"}]),
    ],
}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
EXTRAS: list[dict[str, Any]] = [{}, {"enable_thinking": False}]


def render(template, variables):
    try:
        compiled = chat_template_utils._compile_jinja_template(template)
        return {"text": compiled.render(**variables)}
    except Exception as error:  # whatever it is, the other side must fail too
        return {"error": f"{type(error).__name__}: {error}"[:120]}


def chat(template, conversation, tools, generation_prompt, extra):
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            [CONVERSATIONS[conversation]],
            tools=TOOLS[tools],
            documents=None,
            chat_template=template,
            add_generation_prompt=generation_prompt,
            **{**TOKENS, **EXTRAS[extra]},
        )
        return {"text": texts[0]}
    except Exception as error:  # as above
        return {"error": f"{type(error).__name__}: {error}"[:120]}


def cases(template):
    found = []
    for conversation in CONVERSATIONS:
        for tools in TOOLS:
            for generation_prompt in (True, False):
                for extra in range(len(EXTRAS)):
                    if not generation_prompt and (tools == "empty" or extra) or (extra and tools != "none"):
                        continue
                    result = chat(template, conversation, tools, generation_prompt, extra)
                    found.append([conversation, tools, generation_prompt, extra, result])
    return found


def of_models(directory):
    """Names and texts of the templates below a directory, each text once."""
    seen = set()
    for file in sorted(directory.rglob("*")):
        texts = []
        if file.suffix == ".jinja":
            texts.append(file.read_text(encoding="utf-8"))
        elif file.name == "tokenizer_config.json":
            template = json.loads(file.read_text(encoding="utf-8")).get("chat_template")
            texts += [template] if isinstance(template, str) else [t["template"] for t in template or []]
        for text in texts:
            if text not in seen:
                seen.add(text)
                yield str(file.relative_to(directory)), text


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--models", nargs=2, metavar=("DIR", "FILE"), type=Path)
    given = arguments.parse_args()
    chat_template_utils.datetime = FixedTime
    if given.models:
        directory, output = given.models
        templates = list(of_models(directory))
        snippets = []
    else:
        output = HERE / "chat_reference.json"
        templates = [(file.name, file.read_text(encoding="utf-8")) for file in sorted((HERE / "templates").iterdir())]
        lines = (HERE / "snippets.txt").read_text(encoding="utf-8").splitlines()
        snippets = [line.replace("⏎", "\n") for line in lines if line and not line.startswith("##")]
    variables = {
        "messages": CONVERSATIONS["turns"],
        "tool": WEATHER,
        "d": {"b": 2, "A": [1, None, True, 2.5, "x'y"], "c": {"k": "v"}, "items": "own"},
        "l": [3, 1, 2, 1],
        "s": "Hello, wörld! 😀 it's",
        "n": 7,
        "f": -3.75,
        "e": None,
    }
    reference = {
        "transformers": transformers.__version__,
        "jinja2": jinja2.__version__,
        "tokens": TOKENS,
        "extras": EXTRAS,
        "tools": TOOLS,
        "conversations": CONVERSATIONS,
        "variables": variables,
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=True)}" for key, value in reference.items()]
    rendered = [
        json.dumps(name) + ": {" + json.dumps("source") + ": " + json.dumps(text) + ', "cases": [\n'
        + ",\n".join(json.dumps(case) for case in cases(text)) + "\n]}"
        for name, text in templates
    ]
    lines.append('"templates": {\n' + ",\n".join(rendered) + "\n}")
    lines.append('"snippets": [\n' + ",\n".join(json.dumps([s, render(s, variables)]) for s in snippets) + "\n]")
    output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
