from plain import port as port
