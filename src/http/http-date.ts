/**
 * The time of an HTTP-date in milliseconds of the epoch, in the form to be written and the two obsolete ones that must be read; undefined for
 * every other text, and for a date that there is not or whose weekday is another.
 * @param lastModified milliseconds of the epoch; a year of two digits lies at most 50 years after it.
 * @see RFC 9110 §5.6.7
 */
export function parseHttpDate(text: string, lastModified: number): number | undefined {
  const [, imfDay, imfMonth, imfYear, imfTime] = imfFixdate.exec(text) ?? [];
  if (imfTime !== undefined) return timeOf(text, { day: imfDay, month: imfMonth, year: imfYear, time: imfTime });
  const [, day850, month850, year850, time850] = rfc850.exec(text) ?? [];
  if (time850 !== undefined) {
    const year = String(fullYear(Number(year850), lastModified));
    return timeOf(text, { day: day850, month: month850, year, time: time850 });
  }
  const [, month, day, time, year] = asctime.exec(text) ?? [];
  return time === undefined ? undefined : timeOf(text, { day: day?.replace(" ", "0"), month, year, time });
}

const months = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec";
const imfFixdate = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\\d\\d) (${months}) (\\d{4}) (\\d\\d:\\d\\d:\\d\\d) GMT$`);
const rfc850 = new RegExp(`^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\\d\\d)-(${months})-(\\d\\d) (\\d\\d:\\d\\d:\\d\\d) GMT$`);
const asctime = new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (${months}) ((?:\\d| )\\d) (\\d\\d:\\d\\d:\\d\\d) (\\d{4})$`);

type Parts = { readonly [part in "day" | "month" | "year" | "time"]: string | undefined };

// Date.parse takes 31 February for 3 March and passes over the weekday: a date counts when it is written again as it came.
function timeOf(text: string, { day, month, year, time }: Parts): number | undefined {
  const fixdate = `${text.slice(0, 3)}, ${day} ${month} ${year} ${time} GMT`;
  const milliseconds = Date.parse(fixdate);
  return !Number.isNaN(milliseconds) && new Date(milliseconds).toUTCString() === fixdate ? milliseconds : undefined;
}

// RFC 9110 §5.6.7: what appears to be more than 50 years ahead is the most recent year in the past with these digits.
function fullYear(digits: number, lastModified: number): number {
  const latest = new Date(lastModified).getUTCFullYear() + 50;
  return latest - ((((latest - digits) % 100) + 100) % 100);
}
