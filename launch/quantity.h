// Figures for people: "12.3 k", "4.2 MB", "3m20s".
#pragma once

#include <string>

namespace thinwire::launch {

// Three significant digits with a decimal prefix: 12345 -> "12.3k", 0.5 -> "0.5". "-" if it is not finite.
std::string short_number(double value);

// Below a minute "12s", below an hour "3m20s", else "5h07m"; "-" if it is negative or not finite.
std::string short_duration(double seconds);

}  // namespace thinwire::launch
