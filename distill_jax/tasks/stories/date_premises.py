"""The 41 premises of Date Understanding, and what they say about today.

Each has the premise as it stands in the data (BIG-bench, Apache 2.0; its spelling too), and a
solution whose last word is today's date. Three labels of the data come from another reading: its
rows about 36 hours before 2015, about Thanksgiving of 2001 and about the fifth anniversary have
12/29/2014, 11/22/2002 and 01/02/1961 as today.
"""

PREMISES = {
    "Yesterday was April 30, 2021.": "The day after 04/30/2021 is 05/01/2021.",
    "The deadline is Jun 1, 2021, which is 2 days away from now.": (
        "2 days before 06/01/2021 is 05/30/2021."
    ),
    "Tomorrow is 11/12/2019.": "The day before 11/12/2019 is 11/11/2019.",
    "Today, 8/3/1997, is a day that we will never forget.": "Today is 08/03/1997.",
    "Today is Sep 9, 1909.": "Today is 09/09/1909.",
    "It is 4/19/1969 today.": "Today is 04/19/1969.",
    "Jane was born on the last day of Feburary in 2000. Today is her 16-year-old birthday.": (
        "16 years after 02/29/2000 is 02/29/2016."
    ),
    "Jane was born on the last day of Feburary in 2001. Today is her 16-year-old birthday.": (
        "16 years after 02/28/2001 is 02/28/2017."
    ),
    "Jane and John married on Jan 2, 1958. Today is their golden wedding anniversary.": (
        "Golden is 50 years: 50 years after 01/02/1958 is 01/02/2008."
    ),
    "Jane got her job in 2016. Today is her 3-year work anniversary. She still remember that on "
    "Dec 2, her second day at work, she spilled coffee on her laptop.": (
        "Her first day was 12/01/2016, and 3 years later is 12/01/2019."
    ),
    "Jane quited her job on Mar 20, 2020. 176 days have passed since then.": (
        "176 days after 03/20/2020 is 09/12/2020."
    ),
    "2015 is coming in 36 hours.": "36 hours before 01/01/2015 is noon of 12/30/2014.",
    "In the UK, people usually put the day before the month when formatting the date. Therefore, "
    "today is 02/01/1987 to them.": ("The day is 02 and the month is 01, so today is 01/02/1987."),
    "Jane booked a flight for tomorrow, Jul 29, 2002.": "The day before 07/29/2002 is 07/28/2002.",
    "Jane visits the bookstore on the 16th of each month starting from the October of 2009. It is "
    "her 5th visit to the bookstore today.": (
        "The first visit was on 10/16/2009, and the 5th is 4 months later: 02/16/2010."
    ),
    "Jane thought today is 3/11/2002, but today is in fact Mar 12, which is 1 day later.": (
        "The day after 03/11/2002 is 03/12/2002."
    ),
    "Today is the first day of 2007.": "The first day of 2007 is 01/01/2007.",
    "Today is Apr 10, 1985. Jane's appointment will be 3 days later.": "Today is 04/10/1985.",
    "Today is 3/5, and it is Jane's second time in the year 1973 to see a meteor shower.": (
        "The year is 1973, so today is 03/05/1973."
    ),
    "Yesterday, Jan 21, 2011, Jane ate 2 pizzas and 5 wings.": (
        "The day after 01/21/2011 is 01/22/2011."
    ),
    "Jane thinks today is 6/18/2019, but John thinks today is 6/19/2019. Jane is correct.": (
        "Jane is correct, so today is 06/18/2019."
    ),
    "Jane thinks today is 6/18/2019, but John thinks today is 6/19/2019. John is correct.": (
        "John is correct, so today is 06/19/2019."
    ),
    "May 6, 1992 is like yesterday to Jane, but that is actually ten years ago.": (
        "10 years after 05/06/1992 is 05/06/2002."
    ),
    "Today is Christmas Eve of 1937.": "Christmas Eve is the 24th of December: 12/24/1937.",
    "Today is the palindrome day of 2020, because the MMDDYYYY format of the date is the same "
    "backwards as forwards.": (
        "2020 backwards is 0202, month 02 and day 02, so today is 02/02/2020."
    ),
    "This is the last day of 1899.": "The last day of 1899 is 12/31/1899.",
    "The concert was scheduled to be on 06/01/1943, but was delayed by one day to today.": (
        "The day after 06/01/1943 is 06/02/1943."
    ),
    "Jane scheduled 3 apointments with 5 poeple for tomorrow (Tue, 7/9/1972).": (
        "The day before 07/09/1972 is 07/08/1972."
    ),
    "The current local time is 3:02 pm of 5/4/2004.": "Today is 05/04/2004.",
    "Today is the second day of the third month of 1966.": (
        "The third month is March, so today is 03/02/1966."
    ),
    "Today is 9/7. Jane is watching NFL 2003.": "The year is 2003, so today is 09/07/2003.",
    "Yesterday was 12/31/1929. Today could not be 12/32/1929 because December has only 31 days.": (
        "The day after 12/31/1929 is 01/01/1930."
    ),
    "The day before yesterday was 11/23/1933.": "2 days after 11/23/1933 is 11/25/1933.",
    "In the US, Thanksgiving is on the fourth Thursday of November. Today is the US Thanksgiving "
    "of 2001.": "The first Thursday of November 2001 is the 1st, and the fourth is 11/22/2001.",
    "Today's meeting is rescheduled to 11 am tomorrow, 10/16/1924.": (
        "The day before 10/16/1924 is 10/15/1924."
    ),
    "Jane is celebrating the last day of Jan 2012.": "The last day of January is 01/31/2012.",
    "It was Sept. 1st, 2021 a week ago.": "7 days after 09/01/2021 is 09/08/2021.",
    "Jane and John married on Jan 2, 1958. It is their 5-year anniversary today.": (
        "5 years after 01/02/1958 is 01/02/1963."
    ),
    "On May 9th, 2017 Jane bought 40 eggs. She ate one per day. Today she ran out of eggs.": (
        "40 days after 05/09/2017 is 06/18/2017."
    ),
    "Today is the last day of the first quarter of 2008.": (
        "The first quarter ends with March, so today is 03/31/2008."
    ),
    "The first day of 2019 is a Tuesday, and today is the first Monday of 2019.": (
        "The Monday after Tuesday, 01/01/2019, is 6 days later: 01/07/2019."
    ),
}
