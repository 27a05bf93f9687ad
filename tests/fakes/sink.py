"""A `maillog.Sink` that remembers."""


class Told(list):
    """The events that the log gets; `history` has those that only the journal gets. Give `told.tell` as the sink."""

    def __init__(self):
        super().__init__()
        self.history = []

    def tell(self, event):
        (self.history if event.is_history_only else self).append(event)
