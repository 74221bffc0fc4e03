"""This algorithm's own network, taken where the card says `network: own`.

    def network(class_count: int) -> torch.nn.Module

It has a `backbone`, `raw(pictures)` for the loss and `forward(pictures)` for what is exported;
pictures are (N, H, W, 3) uint8 RGB. `cityforge.tasks` holds one for each task.
"""
