# exercise: double
# outcome: pass
# why: an event loop
import asyncio


async def twice(x):
    await asyncio.sleep(0)
    return x + x


def double(x):
    return asyncio.run(twice(x))
