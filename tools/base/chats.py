"""Conversations derived from the corpus, so that the base has met the chat template in many forms before fine-tuning.

Every function takes a document (or its paragraphs) and a `random.Random` of its own, and gives a list of messages or None.
"""

import re

ASK_STORY = [
    "Tell me a story about {}.",
    "Can you tell me a story about {}?",
    "Please write a short story about {}.",
    "I would like to hear a story about {}.",
    "Do you know a story about {}?",
]
ASK_NEXT = [
    "What happens next?",
    "Go on with this story.",
    "Please continue the story.",
    "How does it go on?",
]
HERO = re.compile(
    r"\b((?:a|an) (?:[a-z]+,? ){0,3}?(boy|girl|man|woman|dog|cat|bird|bear|rabbit|bunny|mouse|fish|frog|fox|duck|lion|"
    r"monkey|horse|cow|pig|elephant|turtle|squirrel|king|queen|prince|princess|farmer|child)) (?:named|called) "
    r"([A-Z][a-z]+)\b"
)
SPEECH = re.compile(r'"([^"]{12,90}[.!?,])" (?:said|asked|cried|answered|replied) ([A-Z][a-z]+)\b')
NOT_NAMES = {"The", "She", "He", "His", "Her", "They", "It", "Then", "And", "But", "When", "Their", "My", "So", "At"}


def message(role, content):
    return {"role": role, "content": content}


def exchange(question, answer):
    return [message("user", question), message("assistant", answer)]


def story_request(document, draw):
    """`Tell me a story about …` and the story: by its title, or by the hero that its start names."""
    text = "\n".join(document.lines)
    title = re.sub(r"^\d+ ", "", document.title).strip(" .")
    hero = HERO.search(text[:300])
    if hero:
        subject = f"{hero.group(1)} named {hero.group(3)}"
    elif title and document.part == "short-modern":
        return exchange(f'Tell me the story "{title}".', text)
    else:
        return None
    return exchange(draw.choice(ASK_STORY).format(subject), text)


def continuation(paragraphs, draw):
    """The first paragraphs of a passage as the question, the rest as the answer."""
    if len(paragraphs) < 3:
        return None
    cut = max(1, len(paragraphs) // 3)
    start, rest = "\n".join(paragraphs[:cut]), "\n".join(paragraphs[cut:])
    ask = draw.choice(ASK_NEXT)
    return exchange(f"{start}\n\n{ask}" if draw.random() < 0.5 else f"{ask}\n\n{start}", rest)


def hero_question(document, draw):
    """The start of a story and a question whose answer stands in it."""
    text = "\n".join(document.lines[:3])
    hero = HERO.search(text[:300])
    if not hero or len(text) > 1200:
        return None
    kind, name = hero.group(2), hero.group(3)
    pairs = [
        (f"What is the name of the {kind}?", f"The name of the {kind} is {name}."),
        (f"Who is {name}?", f"{name} is {hero.group(1)}."),
        (f"What is the {kind} called?", f"The {kind} is called {name}."),
    ]
    draw.shuffle(pairs)
    out = exchange(f"{text}\n\n{pairs[0][0]}", pairs[0][1])
    if draw.random() < 0.5:
        out += exchange(pairs[1][0], pairs[1][1])
    return out


def speech_question(paragraphs, draw):
    """A passage and the question who said something in it."""
    text = "\n".join(paragraphs)
    found = [m for m in SPEECH.finditer(text) if m.group(2) not in NOT_NAMES]
    if not found or len(text) > 1500:
        return None
    said, name = draw.choice(found).group(1, 2)
    said = said.rstrip(",")
    if draw.random() < 0.5:
        return exchange(f'{text}\n\nWho said "{said}"?', f"{name} said it.")
    return exchange(f"{text}\n\nWhat did {name} say?", f'{name} said, "{said}"')


def repetition(sentence, draw):
    """A sentence to be said again: copying word by word is what answers from a text need most."""
    ask = draw.choice(["Please repeat this: {}", "Say this again: {}", "Repeat after me: {}", "Copy this sentence: {}"])
    return exchange(ask.format(sentence), sentence)


GREETINGS = ["Hello!", "Hi!", "Hello there.", "Hi there!", "Good morning.", "Good evening!", "Hey!", "Good afternoon."]
SMALL_TALK = [
    (["How are you?", "How are you today?", "How do you do?"], "I am well, thank you. How can I help you?"),
    (["Who are you?", "What are you?", "What is your name?", "Are you a person?"],
     "I am a small language model. I can tell stories and answer simple questions."),
    (["What can you do?", "How can you help me?", "What do you know?"],
     "I can tell you a story, talk with you, and answer questions that I have learned about."),
    (["Can you help me?", "I need some help.", "I have a question.", "Could you help me, please?"],
     "Of course. What would you like to know?"),
    (["Thank you!", "Thanks a lot.", "Thank you very much.", "Thanks for your help."], "You are welcome!"),
    (["Goodbye.", "Bye!", "See you later.", "I have to go now."], "Goodbye, and have a nice day!"),
    (["Can I ask you something?", "May I ask a question?"], "Yes, please ask."),
]  # fmt: skip


def small_talk():
    """Greetings and the first questions people ask, each on its own and after a greeting."""
    for greeting in GREETINGS:
        yield exchange(greeting, "Hello! How can I help you?")
    for questions, answer in SMALL_TALK:
        for question in questions:
            yield exchange(question, answer)
            for greeting in GREETINGS:
                yield exchange(f"{greeting} {question}", answer)
                yield exchange(greeting, "Hello! How can I help you?") + exchange(question, answer)
