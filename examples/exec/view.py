#!/usr/bin/env python3
"""A view of orders: a row and an event for each OrderPlaced. It decides by the message alone; Pawl does what it answers."""
import json
import sys


def say(answer):
    print(json.dumps(answer), flush=True)       # stdout is for answers only; print to stderr for the log


def handle(message):
    order = message.get("body")
    if not isinstance(order, dict) or "id" not in order or "total" not in order:
        return {"verdict": "reject", "code": "bad_field", "text": "an order has an id and a total"}
    return {
        "verdict": "done",
        "sql": [{
            "text": "insert into order_view (id, total) values ($1, $2::numeric)"
                    " on conflict (id) do update set total = excluded.total",
            "params": [order["id"], order["total"]],
        }],
        "emit": [{"aggregatetype": "view", "aggregateid": order["id"], "type": "OrderListed",
                  "payload": {"order": order["id"]}}],
    }


sys.stdin.readline()                            # Pawl's own line: version, queue
say({"pawl": 1, "ready": True, "name": "view.py", "version": "1"})
for line in sys.stdin:
    # Numbers as they were written: 12.50 stays 12.50.
    message = json.loads(line, parse_float=str, parse_int=str)
    say({"n": int(message["n"]), **handle(message)})
