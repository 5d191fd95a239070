"""Priority and fairness: which requests are served now, which wait, which are told to come again. No I/O, no clock.

    request --FlowSchemas--> priority level and flow --seats free?--> served
                                                     --else--> waits, flows of a level taking turns --full?--> 429

What the objects say is `schemas` (whose is a request) and `levels` (how many at once); `control` joins them.
"""
