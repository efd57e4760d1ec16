# exercise: step_cost
# outcome: wrong
# shows: nobody needs the gradient of the pictures
# why: two products backward for each one forward: true for every layer but the first
predict("step_cost", 3)
