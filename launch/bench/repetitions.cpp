#include "launch/bench/repetitions.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <thread>

namespace thinwire::launch {

Measured summarise(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, median == 0 ? 0 : (values.back() - values.front()) / median};
}

std::vector<Measured> measure_in_turns(const std::vector<std::function<double()>>& contenders,
                                       int repetitions) {
  std::vector<std::vector<double>> figures(contenders.size());
  for (int round = -1; round < repetitions; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const double figure = contenders[i]();
      if (round >= 0) figures[i].push_back(figure);
    }
  }
  std::vector<Measured> measured;
  for (auto& values : figures) measured.push_back(summarise(std::move(values)));
  return measured;
}

std::string machine_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string model = "unknown processor";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
  }
  return fmt::format("{}, {} cores", model, std::thread::hardware_concurrency());
}

void pin_this_thread() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(::sched_getcpu(), &set);
  ::sched_setaffinity(0, sizeof set, &set);
}

}  // namespace thinwire::launch
