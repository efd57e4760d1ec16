"""The referee: a trusted process that owns the clock, the inputs, the oracle and the verdict. DESIGN: "tests never share
the student's process". Student code runs only in jailed workers; what they send back is data, and is treated as hostile."""
