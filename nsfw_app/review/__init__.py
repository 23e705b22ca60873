"""What happens to an image and to a decision: prediction, verdict, queue, export, webhook."""
