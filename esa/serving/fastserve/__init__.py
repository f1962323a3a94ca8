"""FastServe (arXiv 2305.05920): preemption after every token, by queues that a request joins where its prompt fits."""
