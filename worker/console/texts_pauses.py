"""Words about what people stop and slow, as those in `texts`."""

PORTUGUESE = {
    "Everything": "Tudo",
    "everything": "tudo",
    "paused by {who}: {why}": "em pausa por {who}: {why}",
    "slowed to {rate} calls a second by {who}: {why}": "reduzida a {rate} chamadas por segundo por {who}: {why}",
    "Pauses": "Pausas",
    "What is paused begins nothing, and its customers' later commands wait behind it. What had begun is cleared up.": "O que está em pausa não inicia nada, e os comandos seguintes dos mesmos clientes esperam atrás. O que já começou é esclarecido.",
    "nothing is paused besides platforms": "nada está em pausa além de plataformas",
    "Pause more than a platform, or less": "Pausar mais que uma plataforma, ou menos",
    "a command's type, a sender, or a batch": "o tipo de um comando, um remetente, ou um lote",
    "at most {rate} calls a second": "no máximo {rate} chamadas por segundo",
    "Calls a second": "Chamadas por segundo",
    "Lower the rate": "Reduzir o ritmo",
    "Restore the rate": "Restaurar o ritmo",
}
