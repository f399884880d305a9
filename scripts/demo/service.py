#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The demo's web service: an HTTP server with worker threads over a small database, and clients that ask it."""
import hashlib
import http.client
import http.server
import json
import random
import re
import sqlite3
import sys
import threading

ARTICLES = 400
CLIENTS = 3
WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa".split()
LINK = re.compile(r"\b([a-z]+)-(\d{2,})\b")


def open_database():
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("create table article (id integer primary key, title text, body text, views integer default 0)")
    draw = random.Random(1)
    for number in range(ARTICLES):
        words = ["%s-%d" % (draw.choice(WORDS), draw.randrange(1000)) for _ in range(120)]
        db.execute("insert into article (id, title, body) values (?, ?, ?)", (number, words[0], " ".join(words)))
    return db


class Store:
    """The database; one thread at a time."""

    def __init__(self):
        self.db, self.lock = open_database(), threading.Lock()

    def article(self, number):
        with self.lock:
            self.db.execute("update article set views = views + 1 where id = ?", (number,))
            return self.db.execute("select id, title, body, views from article where id = ?", (number,)).fetchone()

    def search(self, word):
        with self.lock:
            return self.db.execute("select id, title, body, views from article where body like ? "
                                   "order by views desc limit 20", ("%" + word + "%",)).fetchall()


def render(row):
    """An article as the client gets it, its links marked."""
    number, title, body, views = row
    return {"id": number, "title": title.title(), "views": views, "body": LINK.sub(r"<a href='/\2'>\1</a>", body),
            "links": sorted({int(m.group(2)) for m in LINK.finditer(body)})}


def etag(text):
    return hashlib.sha256(text).hexdigest()[:16]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store = None

    def do_GET(self):
        kind, _, word = self.path.strip("/").partition("/")
        if kind == "search":
            self.reply([render(row) for row in self.store.search(word)])
        else:
            self.reply(render(self.store.article(int(word))))

    def reply(self, value):
        text = json.dumps(value, sort_keys=True, indent=1).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("ETag", etag(text))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def ask_for_ever(port, seed):
    draw = random.Random(seed)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        if draw.random() < 0.2:
            connection.request("GET", "/search/" + draw.choice(WORDS))
        else:
            connection.request("GET", "/article/%d" % draw.randrange(ARTICLES))
        json.loads(connection.getresponse().read())


def main():
    Handler.store = Store()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    for seed in range(CLIENTS):
        threading.Thread(target=ask_for_ever, args=(server.server_port, seed), name="client-%d" % seed,
                         daemon=True).start()
    print("ready")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
