// Measuring several things fairly: repetitions taken in turns, so that a slow spell of the machine hits all
// alike.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace thinwire::launch {

// What a set of repetitions comes to.
struct Measured {
  double median = 0;
  double spread = 0;  // (largest - smallest) / median
};

// Of at least one value. An even number of values has the mean of the two in the middle.
Measured summarise(std::vector<double> values);

// Calls every contender once, uncounted, then `repetitions` rounds of each in turn. Each returns its figure.
std::vector<Measured> measure_in_turns(const std::vector<std::function<double()>>& contenders,
                                       int repetitions);

// "AMD EPYC, 2 cores": for the heading of every benchmark.
std::string machine_name();

// Keeps the calling thread on the core where it runs.
void pin_this_thread();

}  // namespace thinwire::launch
