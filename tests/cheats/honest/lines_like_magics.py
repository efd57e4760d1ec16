# exercise: double
# outcome: pass
# why: a long text whose lines begin like magics
def double(x):
    """
    % of
    1 per cent
    % of
    3 per cent
    % of
    5 per cent
    % of
    7 per cent
    % of
    9 per cent
    % of
    11 per cent
    % of
    13 per cent
    % of
    15 per cent
    % of
    17 per cent
    % of
    19 per cent
    % of
    21 per cent
    % of
    23 per cent
    % of
    25 per cent
    % of
    27 per cent
    % of
    29 per cent
    % of
    31 per cent
    % of
    33 per cent
    % of
    35 per cent
    % of
    37 per cent
    % of
    39 per cent
    % of
    41 per cent
    % of
    43 per cent
    % of
    45 per cent
    % of
    47 per cent
    % of
    49 per cent
    % of
    51 per cent
    % of
    53 per cent
    % of
    55 per cent
    % of
    57 per cent
    % of
    59 per cent
    % of
    61 per cent
    % of
    63 per cent
    % of
    65 per cent
    % of
    67 per cent
    % of
    69 per cent
    % of
    71 per cent
    % of
    73 per cent
    % of
    75 per cent
    % of
    77 per cent
    % of
    79 per cent
    % of
    81 per cent
    % of
    83 per cent
    % of
    85 per cent
    % of
    87 per cent
    % of
    89 per cent
    % of
    91 per cent
    % of
    93 per cent
    % of
    95 per cent
    % of
    97 per cent
    % of
    99 per cent
    % of
    101 per cent
    % of
    103 per cent
    % of
    105 per cent
    % of
    107 per cent
    % of
    109 per cent
    % of
    111 per cent
    % of
    113 per cent
    % of
    115 per cent
    % of
    117 per cent
    % of
    119 per cent
    % of
    121 per cent
    % of
    123 per cent
    % of
    125 per cent
    % of
    127 per cent
    % of
    129 per cent
    % of
    131 per cent
    % of
    133 per cent
    % of
    135 per cent
    % of
    137 per cent
    % of
    139 per cent
    % of
    141 per cent
    % of
    143 per cent
    % of
    145 per cent
    % of
    147 per cent
    % of
    149 per cent
    % of
    151 per cent
    % of
    153 per cent
    % of
    155 per cent
    % of
    157 per cent
    % of
    159 per cent
    % of
    161 per cent
    % of
    163 per cent
    % of
    165 per cent
    % of
    167 per cent
    % of
    169 per cent
    % of
    171 per cent
    % of
    173 per cent
    % of
    175 per cent
    % of
    177 per cent
    % of
    179 per cent
    % of
    181 per cent
    % of
    183 per cent
    % of
    185 per cent
    % of
    187 per cent
    % of
    189 per cent
    % of
    191 per cent
    % of
    193 per cent
    % of
    195 per cent
    % of
    197 per cent
    % of
    199 per cent
    % of
    201 per cent
    % of
    203 per cent
    % of
    205 per cent
    % of
    207 per cent
    % of
    209 per cent
    % of
    211 per cent
    % of
    213 per cent
    % of
    215 per cent
    % of
    217 per cent
    % of
    219 per cent
    % of
    221 per cent
    % of
    223 per cent
    % of
    225 per cent
    % of
    227 per cent
    % of
    229 per cent
    % of
    231 per cent
    % of
    233 per cent
    % of
    235 per cent
    % of
    237 per cent
    % of
    239 per cent
    % of
    241 per cent
    % of
    243 per cent
    % of
    245 per cent
    % of
    247 per cent
    % of
    249 per cent
    % of
    251 per cent
    % of
    253 per cent
    % of
    255 per cent
    % of
    257 per cent
    % of
    259 per cent
    % of
    261 per cent
    % of
    263 per cent
    % of
    265 per cent
    % of
    267 per cent
    % of
    269 per cent
    % of
    271 per cent
    % of
    273 per cent
    % of
    275 per cent
    % of
    277 per cent
    % of
    279 per cent
    % of
    281 per cent
    % of
    283 per cent
    % of
    285 per cent
    % of
    287 per cent
    % of
    289 per cent
    % of
    291 per cent
    % of
    293 per cent
    % of
    295 per cent
    % of
    297 per cent
    % of
    299 per cent
    % of
    301 per cent
    % of
    303 per cent
    % of
    305 per cent
    % of
    307 per cent
    % of
    309 per cent
    % of
    311 per cent
    % of
    313 per cent
    % of
    315 per cent
    % of
    317 per cent
    % of
    319 per cent
    % of
    321 per cent
    % of
    323 per cent
    % of
    325 per cent
    % of
    327 per cent
    % of
    329 per cent
    % of
    331 per cent
    % of
    333 per cent
    % of
    335 per cent
    % of
    337 per cent
    % of
    339 per cent
    % of
    341 per cent
    % of
    343 per cent
    % of
    345 per cent
    % of
    347 per cent
    % of
    349 per cent
    % of
    351 per cent
    % of
    353 per cent
    % of
    355 per cent
    % of
    357 per cent
    % of
    359 per cent
    % of
    361 per cent
    % of
    363 per cent
    % of
    365 per cent
    % of
    367 per cent
    % of
    369 per cent
    % of
    371 per cent
    % of
    373 per cent
    % of
    375 per cent
    % of
    377 per cent
    % of
    379 per cent
    % of
    381 per cent
    % of
    383 per cent
    % of
    385 per cent
    % of
    387 per cent
    % of
    389 per cent
    % of
    391 per cent
    % of
    393 per cent
    % of
    395 per cent
    % of
    397 per cent
    % of
    399 per cent
    % of
    401 per cent
    % of
    403 per cent
    % of
    405 per cent
    % of
    407 per cent
    % of
    409 per cent
    % of
    411 per cent
    % of
    413 per cent
    % of
    415 per cent
    % of
    417 per cent
    % of
    419 per cent
    % of
    421 per cent
    % of
    423 per cent
    % of
    425 per cent
    % of
    427 per cent
    % of
    429 per cent
    % of
    431 per cent
    % of
    433 per cent
    % of
    435 per cent
    % of
    437 per cent
    % of
    439 per cent
    % of
    441 per cent
    % of
    443 per cent
    % of
    445 per cent
    % of
    447 per cent
    % of
    449 per cent
    % of
    451 per cent
    % of
    453 per cent
    % of
    455 per cent
    % of
    457 per cent
    % of
    459 per cent
    % of
    461 per cent
    % of
    463 per cent
    % of
    465 per cent
    % of
    467 per cent
    % of
    469 per cent
    % of
    471 per cent
    % of
    473 per cent
    % of
    475 per cent
    % of
    477 per cent
    % of
    479 per cent
    % of
    481 per cent
    % of
    483 per cent
    % of
    485 per cent
    % of
    487 per cent
    % of
    489 per cent
    % of
    491 per cent
    % of
    493 per cent
    % of
    495 per cent
    % of
    497 per cent
    % of
    499 per cent
    % of
    501 per cent
    % of
    503 per cent
    % of
    505 per cent
    % of
    507 per cent
    % of
    509 per cent
    % of
    511 per cent
    % of
    513 per cent
    % of
    515 per cent
    % of
    517 per cent
    % of
    519 per cent
    % of
    521 per cent
    % of
    523 per cent
    % of
    525 per cent
    % of
    527 per cent
    % of
    529 per cent
    % of
    531 per cent
    % of
    533 per cent
    % of
    535 per cent
    % of
    537 per cent
    % of
    539 per cent
    % of
    541 per cent
    % of
    543 per cent
    % of
    545 per cent
    % of
    547 per cent
    % of
    549 per cent
    % of
    551 per cent
    % of
    553 per cent
    % of
    555 per cent
    % of
    557 per cent
    % of
    559 per cent
    % of
    561 per cent
    % of
    563 per cent
    % of
    565 per cent
    % of
    567 per cent
    % of
    569 per cent
    % of
    571 per cent
    % of
    573 per cent
    % of
    575 per cent
    % of
    577 per cent
    % of
    579 per cent
    % of
    581 per cent
    % of
    583 per cent
    % of
    585 per cent
    % of
    587 per cent
    % of
    589 per cent
    % of
    591 per cent
    % of
    593 per cent
    % of
    595 per cent
    % of
    597 per cent
    % of
    599 per cent
    """
    return x + x
