// Every key of the config file, once: reading, writing, --set and docs/config.md follow this table.
#pragma once

#include <string>
#include <vector>

#include "launch/config/field.h"
#include "trainer/options/options.h"

namespace thinwire::launch {

// A key of a section, bound to the whole of the options.
using Key = Field<trainer::Options>;

struct Section {
  std::string name;  // of the table
  std::string doc;   // one line
  std::vector<Key> keys;
};

const std::vector<Section>& schema();

// Keys of one [[quant.rule]].
const Fields<trainer::QuantRule>& quant_rule_fields();

}  // namespace thinwire::launch
