#include "trainer/outer/no_exchange.h"

#include "trainer/outer/digest.h"

namespace thinwire::trainer {

NoExchange::NoExchange(std::vector<TrainedTensor> travelling)
    : parameters_(std::move(travelling), {.layout = FragmentLayout::kWhole}) {}

std::string NoExchange::digest() const {
  return digest_of({parameters_.values()});
}

}  // namespace thinwire::trainer
