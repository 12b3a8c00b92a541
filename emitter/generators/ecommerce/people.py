"""The customers: who they are and who of them buys."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pyarrow as pa

from emitter import arrow
from emitter.clock import EPOCH_UNIX_SECONDS
from emitter.generators.base import batch_windows
from emitter.generators.ecommerce.curve import HOUR_WEIGHTS
from emitter.generators.ecommerce.options import EcommerceOptions
from emitter.generators.ecommerce.tables import CUSTOMERS
from emitter.generators.kit.choices import choice_table, choose
from emitter.generators.kit.growth import DAY_SECONDS, YEAR_SECONDS
from emitter.generators.kit.picks import power_law_quantiles, skewed_rank
from emitter.generators.kit.populations import Population
from emitter.generators.kit.shuffles import Shuffle
from emitter.model import Slice, Window
from emitter.randomness import Integers, Stream, Words, below, below_low

# Each country with its share of the customers, and names that are common there. The second list is the first without
# its accents, for the addresses.
_COUNTRIES: tuple[tuple[str, int, str, str], ...] = (
    (
        *("DE", 30, "Anna Jürgen Lena Matthias Sophie Björn Käthe Lukas"),
        "Müller Schmidt Schäfer Köhler Weber Vogt Böhm Lange",
    ),
    (
        *("GB", 18, "Olivia Harry Amelia George Isla Callum Freya Alfie"),
        "Taylor Evans Thornton Hughes Walsh Patel Clarke Reid",
    ),
    (
        *("US", 20, "Emma Tyler Ava Mason Harper Logan Zoë Carter"),
        "Johnson Rivera Walker Brooks Nguyen Foster Hayes Bennett",
    ),
    (
        *("FR", 12, "Chloé Lucas Manon Théo Inès Hugo Zélie Mathis"),
        "Martin Lefèvre Moreau Girard Fournier Béranger Roux Noël",
    ),
    (
        *("ES", 8, "Lucía Mateo Sofía Álvaro Nerea Iker Jimena Raúl"),
        "García López Fernández Núñez Ibáñez Ortega Vidal Peña",
    ),
    (
        *("PL", 7, "Zofia Jakub Łucja Michał Hanna Paweł Oliwia Kacper"),
        "Nowak Wójcik Kowalska Zieliński Dąbrowski Król Wrona Bąk",
    ),
    (
        *("SE", 5, "Elsa Oskar Åsa Nils Maja Göran Freja Emil"),
        "Lindström Öberg Nyström Berg Åkesson Holm Sandberg Ek",
    ),
)
_PLAIN = str.maketrans("äöüéèêëïíóúñáÁàâôŁłąćęńśźżÅåÖøØß", "aoueeeeiiounaAaaoLlacenszzAaOoOs")
_DOMAINS = ("example.com", "example.net", "example.org")
_SEGMENTS = (("consumer", 84), ("business", 11), ("student", 5))
_HISTORY_SECONDS = 5 * YEAR_SECONDS  # the opening population signed up within so long before the origin
_NEW_BITS = 4  # one order in 2**4 comes from the newest customers, ...
_NEW_SHARE = 50  # ... who are one in so many
_COLUMN_NAMES = [column.name for column in CUSTOMERS.columns]


class People:
    """Customers as numbered arrivals, a few of whom buy most."""

    def __init__(self, seed: int, origin_slot: int, options: EcommerceOptions) -> None:
        self._origin_slot = origin_slot
        self.population = Population(
            origin_slot,
            options.customers,
            options.customer_growth_per_year,
            Stream(seed, "customers.arrival"),
            HOUR_WEIGHTS,
        )
        self._quantiles = power_law_quantiles(options.customers, Decimal(str(options.customer_skew)))
        self._shuffle = Shuffle(options.customers, Stream(seed, "customers.shuffle"))
        self._person, self._history = Stream(seed, "customers"), Stream(seed, "customers.history")

    def pick(self, words: Words, sizes: int | Integers) -> Integers:
        """A customer for each word, out of so many: by the skew, or now and then one of the newest."""
        customers = self._shuffle(skewed_rank(words, self._quantiles, sizes))
        new = np.flatnonzero((words & np.uint64((1 << _NEW_BITS) - 1)) == 0)
        there = np.broadcast_to(np.asarray(sizes), words.shape)[new]
        customers[new] = there - 1 - below_low(words[new], there // _NEW_SHARE + 1)
        return customers

    def rows(self, window: Window, slice: Slice) -> Iterator[tuple[Integers, Integers]]:
        """(numbers, slots) in parts: the opening population, if the origin is in the window, and then those who sign
        up, by slot.
        """
        for opening in self.population.opening_within(window, slice):
            yield opening, np.full(len(opening), self._origin_slot)
        for day in batch_windows(window, DAY_SECONDS):
            numbers, slots = self.population.arrivals(day)
            mine = np.flatnonzero(numbers % slice.count == slice.index)
            yield numbers[mine], slots[mine]

    def batch(self, numbers: Integers, slots: Integers) -> pa.RecordBatch:
        """The table rows of what `rows` gave."""
        words, history = self._person.words(numbers), self._history.words(numbers)
        old = numbers < self.population.opening
        micros = np.where(old, 0, below(history, 999_999))
        moments = (slots + EPOCH_UNIX_SECONDS) * 1_000_000 + micros
        before = 1 + (below(history, _HISTORY_SECONDS) * 1_000_000) + below_low(history, 999_999)
        signed_up = np.where(old, moments - before, moments)
        country = choose(_COUNTRY_TABLE, words)
        first = country.astype(np.int64) * 8 + choose(_EIGHT, words, 12)
        last = country.astype(np.int64) * 8 + choose(_EIGHT, words, 15)
        domain = below(words, len(_DOMAINS))
        segment = choose(_SEGMENT_TABLE, words, 18)
        # The number makes the address unique.
        user = arrow.joined(
            ".",
            arrow.named(_PLAIN_FIRST_NAMES, first),
            arrow.named(_PLAIN_LAST_NAMES, last),
            pa.array(numbers).cast(pa.string()),
        )
        return pa.RecordBatch.from_arrays(
            [
                pa.array(numbers),
                arrow.times(moments),
                arrow.times(signed_up),
                arrow.joined(" ", arrow.named(_FIRST_NAMES, first), arrow.named(_LAST_NAMES, last)),
                arrow.joined("@", user, arrow.named(_DOMAIN_NAMES, domain)),
                arrow.labels(country, _COUNTRY_NAMES),
                arrow.labels(segment, _SEGMENT_NAMES),
            ],
            names=_COLUMN_NAMES,
        )

    def expected_rows(self, window: Window) -> float:
        opening = self.population.opening if window.first <= self._origin_slot < window.end else 0
        first = max(window.first, self._origin_slot)
        return opening + (self.population.expected_arrivals(Window(first, window.end)) if first < window.end else 0.0)


_EIGHT = np.arange(8)
_COUNTRY_TABLE = choice_table(tuple(share for _, share, _, _ in _COUNTRIES))
_COUNTRY_NAMES = pa.array([country for country, *_ in _COUNTRIES])
_SEGMENT_TABLE = choice_table(tuple(share for _, share in _SEGMENTS))
_SEGMENT_NAMES = pa.array([segment for segment, _ in _SEGMENTS])
_DOMAIN_NAMES = pa.array(_DOMAINS)
_FIRST_NAMES = pa.array([name for *_, names, _ in _COUNTRIES for name in names.split()])
_LAST_NAMES = pa.array([name for *_, names in _COUNTRIES for name in names.split()])
_PLAIN_FIRST_NAMES = pa.array([name.as_py().translate(_PLAIN).lower() for name in _FIRST_NAMES])
_PLAIN_LAST_NAMES = pa.array([name.as_py().translate(_PLAIN).lower() for name in _LAST_NAMES])
